"""The transport `local`: one job in, one outcome a recipient out."""

from collections.abc import Callable

from postwarden.config.errors import ConfigError
from postwarden.config.settings import Settings
from postwarden.deliver.body import Body
from postwarden.deliver.local.commands import Commands
from postwarden.deliver.local.delivery import Delivery
from postwarden.deliver.local.expansion import Expander
from postwarden.deliver.local.files import Files
from postwarden.deliver.local.letter import Letter
from postwarden.deliver.local.locks import Locker, plan
from postwarden.deliver.local.mailboxes import Places
from postwarden.deliver.local.params import LocalParams
from postwarden.deliver.local.ports import Account, Accounts, Resolver, Surroundings
from postwarden.deliver.local.rights import Rights
from postwarden.deliver.local.step import Step
from postwarden.deliver.local.tables import LocalTables
from postwarden.ipc.records import Forward, Job, Outcome
from postwarden.mail.events import Warn
from postwarden.mail.remade import Remaking
from postwarden.mail.status import Status, Timing


class LocalDeliverer:
    """Delivers to users, aliases and files of this machine. It blocks while it writes."""

    def __init__(self, params: LocalParams, expander: Expander, around: Surroundings) -> None:
        self._params = params
        self._expander = expander
        self._around = around

    def deliver(self, job: Job, body: Body, forwarded: Callable[[Forward], None]) -> Outcome:
        """The outcome of the job. `forwarded` is called before, for each recipient that became others."""
        handed = self._around.now()
        letter = Letter(job.sender, job.head, body)
        results: list[Status] = []
        remaking = Remaking()
        for index, recipient in enumerate(job.recipients):
            delivery = Delivery(
                job,
                index,
                letter,
                self._around.now,
                handed,
                soft_bounce=self._params.soft_bounce,
                remembered=self._params.duplicate_filter_limit,
                status_filter=self._around.status_filter,
                remaking=remaking,
            )
            self._expander.deliver(delivery, Step(recipient.address, job.sender))
            status, forwards, events = delivery.finish()
            for event in events:
                self._around.emit(event)
            for forward in forwards:
                forwarded(forward)
            results.append(status)
        timing = Timing(handed, handed, self._around.now())
        return Outcome(job.job_id, tuple(results), timing, remade=remaking.taken())


def _is_of_the_system(account: Account, accounts: Accounts, mail_owner: str) -> bool:
    """What runs in its name could read and change the queue."""
    try:
        owner = accounts.by_name(mail_owner)
    except OSError:
        return True
    return owner is not None and (account.uid == owner.uid or account.gid == owner.gid)


def local_deliverer(
    settings: Settings,
    service: str,
    params: LocalParams,
    around: Surroundings,
    tables: LocalTables,
    resolver: Resolver,
) -> LocalDeliverer:
    """Raises ConfigError for a configuration that mail could not be delivered by."""
    locking = plan(
        ("dotlock",) if params.sun_mailtool_compatibility else params.mailbox_delivery_lock,
        params.deliver_lock_attempts,
        params.deliver_lock_delay,
        params.stale_lock_time,
        settings.origin("mailbox_delivery_lock", service),
    )
    if params.sun_mailtool_compatibility:
        instead = 'use "mailbox_delivery_lock = dotlock" instead'
        around.emit(Warn(f"sun_mailtool_compatibility: deprecated parameter, {instead}"))
    try:
        account = around.accounts.by_name(params.default_privs)
    except OSError as error:
        raise ConfigError(settings.origin("default_privs", service), str(error)) from error
    if account is None:
        text = f"default_privs: unknown user: {params.default_privs}"
        raise ConfigError(settings.origin("default_privs", service), text)
    if account.uid == 0 or account.gid == 0:
        text = f"default_privs: {params.default_privs} is privileged: name a user that owns nothing"
        raise ConfigError(settings.origin("default_privs", service), text)
    if around.identity.may_act_as(0) and _is_of_the_system(account, around.accounts, params.mail_owner):
        text = f"default_privs: {params.default_privs} is the mail system owner: its queue would be any program's"
        raise ConfigError(settings.origin("default_privs", service), text)
    locker = Locker(locking, around.now, around.sleep)
    default = Rights(account.uid, account.gid)
    commands = Commands(params, around, default, settings.config_directory)
    places = Places(Files(params, around, locker, default), commands, tables.maps)
    return LocalDeliverer(params, Expander(params, around, tables.aliases, resolver, places), around)
