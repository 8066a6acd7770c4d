"""`vedette audit erase`: makes a person's data in the records unreadable. The chain still verifies."""

from typing import Annotated

import typer

from operators.cli.acts import now_us, record_act
from operators.cli.audit.archive_options import Archive, record_log, settings_of
from operators.cli.console import CommandError, Json, page, print_json
from operators.cli.store.store_option import StoreDir


def erase(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person, as the first personal field names them.")],
    reason: Annotated[str, typer.Option(help="Reason, recorded in the log of governed acts.")],
    store_dir: StoreDir = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Destroy the key of a person, so that data encrypted with it cannot be read any more. Copies of the key are not destroyed."""
    from lifecycle.governance.acts import ActsLog
    from lifecycle.governance.archive.erasure import erase_subject
    from lifecycle.governance.archive.holds import holds_in
    from serving.audit.personal.subject_keys import SubjectKeys

    settings = settings_of(store_dir)
    acts = ActsLog(settings.store_dir / "governance", signer=lambda: None, now_us=now_us)
    keys = SubjectKeys(settings.store_dir / "keys" / "subjects")
    name = erase_subject(
        record_log(store_dir, archive),
        keys,
        subject,
        reason,
        holds_in(acts.read()),
        lambda action, what, why, evidence: record_act(settings, action, what, why, evidence),
    )
    if name is None:
        raise CommandError(f"{subject}: this subject has no key, so no record holds encrypted values of it")
    if as_json:
        print_json({"subject": name})
    else:
        page().print(f"erased: the key of subject {name} is destroyed")
