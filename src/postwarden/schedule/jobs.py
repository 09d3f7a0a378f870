"""What a deliverer is told of one delivery."""

from postwarden.ipc.records import Job
from postwarden.mail.queue import Content
from postwarden.mail.verp import verp_sender
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
        envelope.trace,
        message.probe is not None,
    )
