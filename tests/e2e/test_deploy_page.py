"""The commands of `docs/deploy.md`, as a newcomer enters them: `make rehearse`."""

from pathlib import Path

from local.programs import ROOT
from local.rehearse import VIDEO, rehearse

OWN = {"parameters.yaml", "parameters-test.yaml", "picture.png"}
"""What a person brings along."""

MADE = {VIDEO, "outputs.json", "outputs-test.json"}


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, without what is hidden and what Python caches."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in paths}
    return {
        str(name): path.read_bytes()
        for name, path in names.items()
        if not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
    }


def test_the_page_leads_to_a_video_and_leaves_nothing_in_the_account_and_the_checkout_as_it_was(tmp_path: Path) -> None:
    before = files(ROOT)

    remaining = rehearse(tmp_path, without="vidu-relay doctor")  # has tests of its own, and waits for the first sweep

    after = files(tmp_path / "checkout")
    assert remaining == []
    assert after[VIDEO][4:8] == b"ftyp"
    assert set(after) - set(before) <= OWN | MADE
    assert {name for name in before if name not in OWN | MADE and after[name] != before[name]} == set()
