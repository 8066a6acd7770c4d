"""The segment mapping: which entity is in which segment, and what is no mapping."""

import pytest

from serving.segments.mapping import MOST_SEGMENTS, SegmentMap, SegmentMapError, parse_segment_map, read_segment_map

CSV = (
    "entity,unit,site\n10.1.0.0/16,finance,prague\n10.1.7.0/24,it,prague\n10.1.7.9,hr,\nalice,legal,brno\n2001:db8::/32,lab,\n"
)
YAML = """
10.1.0.0/16: {unit: finance, site: prague}
10.1.7.0/24: {unit: it, site: prague}
10.1.7.9: {unit: hr}
alice: {unit: legal, site: brno}
2001:db8::/32: {unit: lab}
"""


def parsed(text: str, *, is_yaml: bool = False) -> SegmentMap:
    return parse_segment_map(text, "segments", is_yaml=is_yaml)


def found(mapping: SegmentMap, entity: str) -> set[str]:
    return {mapping.segments[place] for place in mapping.find(entity.encode())}


@pytest.mark.parametrize("mapping", [parsed(CSV), parsed(YAML, is_yaml=True)], ids=["csv", "yaml"])
@pytest.mark.parametrize(
    ("entity", "segments"),
    [
        pytest.param("10.1.2.3", {"unit=finance", "site=prague"}, id="an address is in its network's segments"),
        pytest.param("10.1.7.1", {"unit=it", "site=prague"}, id="the longest prefix counts"),
        pytest.param("10.1.7.9", {"unit=hr"}, id="an exact key counts before a network, and nothing is merged"),
        pytest.param("alice", {"unit=legal", "site=brno"}, id="a name is a key"),
        pytest.param("2001:db8::7", {"unit=lab"}, id="IPv6 has prefixes too"),
        pytest.param("10.2.0.1", set(), id="an address in no network is in no segment"),
        pytest.param("bob", set(), id="a name that is not there is in no segment"),
        pytest.param("10.1.2", set(), id="half an address is in no network"),
    ],
)
def test_lookup(mapping: SegmentMap, entity: str, segments: set[str]) -> None:
    assert found(mapping, entity) == segments
    assert found(mapping, entity) == segments, "and the same when it is remembered"


@pytest.mark.parametrize(
    ("text", "is_yaml", "words"),
    [
        pytest.param("", False, "write the header", id="nothing"),
        pytest.param("host,unit\na,b\n", False, "write the header `entity,unit`", id="another first column"),
        pytest.param("entity,unit\na\n", False, "line 2: has 1 fields, the header has 2", id="a short line"),
        pytest.param("entity,unit\na,x\na,y\n", False, "'a' occurs twice", id="an entity twice"),
        pytest.param("entity,unit\n10.0.0.0/8,x\n10.1.0.0/8,y\n", False, "occurs twice", id="a network twice"),
        pytest.param("entity,unit\na,\n", False, "has no segment", id="no value"),
        pytest.param("entity,a b\nx,y\n", False, "column 'a b' is not a valid name", id="a column that is no name"),
        pytest.param('entity,unit\nx,"a""b"\n', False, "without quotes", id="a value that would break a label"),
        pytest.param("entity,unit\n,y\n", False, "line 2: has no entity", id="no entity"),
        pytest.param("entity,unit,unit\na,b,c\n", False, "repeat a name", id="a column twice"),
        pytest.param("- a\n- b\n", True, "is not a mapping of entities", id="a list"),
        pytest.param("a: {unit: [}", True, "is not YAML", id="no YAML"),
        pytest.param(
            "[" * 200_000, True, "nested deeper than 100", id="YAML that is nested without end does not end the process"
        ),
        pytest.param("? " * 100_000, True, "nested deeper than 100", id="nor do keys on one line"),
        pytest.param(f"entity,unit\na,{'x' * 200_000}\n", False, "line 2: is not CSV: field larger", id="a field without end"),
        pytest.param('entity,unit\na,"x\n', False, "is not CSV: unexpected end", id="a quote without end"),
        pytest.param("# why\nentity,unit\n\na\n", False, "line 4: has 1 fields", id="a short line after comments"),
        pytest.param("entity,unit\na,x\u2028y\n", False, "without quotes", id="a line end of Unicode"),
        pytest.param("a: {unit: x}\na: {unit: y}\n", True, "line 2: 'a' occurs twice", id="an entity twice in YAML"),
        pytest.param("a: {unit: x, unit: y}\n", True, "line 1: 'unit' occurs twice", id="a column twice in YAML"),
        pytest.param(
            "a: {unit: [x, y]}\n", True, "entry 1: an entity, its columns and their values are text", id="several values"
        ),
        pytest.param(
            "~: {unit: x}\n", True, "entry 1: an entity, its columns and their values are text", id="no entity in YAML"
        ),
        pytest.param(
            "entity,unit\n" + "".join(f"h{i},u{i}\n" for i in range(MOST_SEGMENTS + 1)),
            False,
            "different values",
            id="identities",
        ),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, is_yaml: bool, words: str) -> None:
    with pytest.raises(SegmentMapError, match="segments") as refused:
        parsed(text, is_yaml=is_yaml)
    assert words in str(refused.value)


def test_a_file_is_read_by_its_suffix(tmp_path) -> None:
    (tmp_path / "s.csv").write_text(CSV, encoding="utf-8-sig")
    (tmp_path / "s.yaml").write_text(YAML, encoding="utf-8")
    read = [read_segment_map(tmp_path / name) for name in ("s.csv", "s.yaml")]
    assert read[0].segments == read[1].segments
    assert read[0].entries == read[1].entries
    with pytest.raises(SegmentMapError, match=r"none\.csv: cannot be read"):
        read_segment_map(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["unit", "hosts_60s__unit", "site"])
def test_a_column_of_the_mapping_is_refused_as_an_input(name: str) -> None:
    with pytest.raises(SegmentMapError, match="a segment must not be an input of a model"):
        parsed(CSV).refuse_inputs({"bytes", name}, "model 'flows' version 1")
    parsed(CSV).refuse_inputs({"bytes", "packets", "unit_price"}, "model 'flows' version 1")


@pytest.mark.parametrize("written", ["10:20:30:40:50:51", "0123", "0x10", "1.10", "no", "2020-01-01"])
def test_what_yaml_would_take_for_something_else_is_the_text_that_is_written(written: str) -> None:
    assert found(parsed(f"{written}: {{unit: {written}}}\n", is_yaml=True), written) == {f"unit={written}"}
