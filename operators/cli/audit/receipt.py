"""`vedette audit receipt`: the proof that an answer is in the log, and the check of such a proof."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from operators.cli.audit.archive_options import Archive, archived_of, record_log
from operators.cli.audit.options import (
    AnchorUrls,
    KeysFolder,
    anchored_notes,
    log_folder,
    pinned_keys,
    store_folder,
    trusted_keys,
)
from operators.cli.console import CommandError, Json, page, print_json
from operators.cli.store.store_option import AnyStoreDir, store_to_use
from operators.cli.times import iso_time

if TYPE_CHECKING:
    from lifecycle.governance.verify.receipts import CheckedProof, ReceiptProof


def receipt(
    receipt_id: Annotated[
        str | None, typer.Argument(metavar="RECEIPT", help="The answer's parameter `receipt`.", show_default=False)
    ] = None,
    check: Annotated[Path | None, typer.Option(help="Check the proof in this file instead, offline.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the proof here, as JSON.")] = None,
    anchor: AnchorUrls = None,
    keys: KeysFolder = None,
    archive: Archive = None,
    store_dir: AnyStoreDir = None,
    as_json: Json = False,
) -> None:
    """Prove that a record is in the log, or check such a proof. Exit code 1 if there is no proof or it does not hold."""
    if check is None or keys is None or store_dir is not None:  # else no store is read
        store_to_use(store_dir)
    if (receipt_id is None) == (check is None):
        raise CommandError("give a receipt to prove, or --check FILE to check a proof, and not both")
    if check is not None:
        _check(check, keys or store_folder(store_dir) / "keys" / "trusted", as_json)
    elif receipt_id is not None:
        _prove(
            receipt_id,
            out,
            anchored_notes(anchor),
            keys or store_folder(store_dir) / "keys" / "trusted",
            archive,
            store_dir,
            as_json,
        )


def _prove(
    receipt_id: str,
    out: Path | None,
    anchored: list[tuple[str, str]],
    keys: Path,
    archive: str | None,
    store_dir: Path | None,
    as_json: bool,
) -> None:
    from lifecycle.governance.verify.finding_receipts import prove_receipt

    folder = log_folder(None, store_dir)
    trust = trusted_keys(keys)(folder)
    found = list(record_log(store_dir, archive).places_of(receipt_id))
    archived = archived_of(store_dir, archive)
    proof = prove_receipt(folder, receipt_id, trust, anchored, found=found, archived=archived)
    if out is not None:
        out.write_bytes(proof.encode())
    if as_json:
        page().file.write(proof.encode().decode())
        return
    for one in proof.proofs:
        signers = ", ".join(key.rpartition("+")[0] for key in one.signers)
        page().print(
            f"{one.log}, segment {one.segment}, line {one.line} of {one.size} that {signers} signed",
            soft_wrap=True,
            markup=False,
        )
    where = (
        f"in {out}; check it off line: vedette audit receipt --check {out}" if out else "--out FILE or --json gives the proof"
    )
    page().print(f"proved; {where}", soft_wrap=True, markup=False)


def _check(path: Path, keys: Path, as_json: bool) -> None:
    from lifecycle.governance.verify.receipts import ReceiptProof
    from lifecycle.governance.verify.receipts import check as check_proof
    from serving.audit.keys.trust import Trust, read_revoked

    proof = ReceiptProof.decode(path.read_bytes())
    shown = check_proof(proof, Trust.build(pinned_keys(keys), proof.keys, read_revoked(keys)))
    if as_json:
        print_json({"receipt": proof.receipt, "is_proved": True, "proofs": [_as_record(one) for one in shown]})
        return
    _print(proof, shown)


def _as_record(shown: "CheckedProof") -> dict[str, Any]:
    return {name: getattr(shown, name) for name in shown.__struct_fields__}


def _print(proof: "ReceiptProof", shown: "list[CheckedProof]") -> None:
    for one in shown:
        when = iso_time(one.before_us)
        anchor = f"; the proof says that {one.anchor} holds a later checkpoint that extends this one" if one.anchor else ""
        page().print(
            f"{one.log}, segment {one.segment}, line {one.line}: in the log by {when}{anchor}", soft_wrap=True, markup=False
        )
        page().print(f"signed by {', '.join(one.signers)}", soft_wrap=True, markup=False)
    page().print(f"[green]proved[/]: receipt {escape(proof.receipt)}", soft_wrap=True)
