"""What a deliverer is told of one delivery."""

from postwarden.ipc.records import Job
from postwarden.mail.envelope import Recipient
from postwarden.mail.queue import Content
from postwarden.schedule.message import Delivery


def job(job_id: int, delivery: Delivery, content: Content) -> Job:
    message = delivery.message
    envelope = message.entry.envelope
    sender = envelope.sender
    if envelope.verp and sender:
        sender = verp_sender(sender, delivery.recipients[0], envelope.verp)
    return Job(
        job_id,
        delivery.transport,
        delivery.nexthop,
        envelope.queue_id,
        envelope.arrival,
        message.active,
        sender,
        delivery.recipients,
        envelope.size,
        content.head,
        content.body,
        content.offset,
        content.size,
        envelope.eight_bit,
        envelope.smtputf8,
        envelope.ret,
        envelope.envid,
        envelope.client,
        content.crc,
    )


def verp_sender(sender: str, recipient: Recipient, delimiters: str) -> str:
    """`owner@origin` for `user@domain` becomes `owner+user=domain@origin`: a bounce to it tells whose it is, by the
    address that the list knows (VERP_README)."""
    prefix, at, origin = sender.rpartition("@")
    if not at:
        prefix, origin = sender, ""
    local, has_domain, domain = (recipient.original or recipient.address).rpartition("@")
    if not has_domain:
        local, domain = domain, ""
    middle = f"{local}{delimiters[1]}{domain}" if has_domain else local
    return f"{prefix}{delimiters[0]}{middle}{at}{origin}"
