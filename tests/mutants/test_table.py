import ast

import pytest

from orrery import catalog
from tests.mutants.page import PAGE, page, row
from tests.mutants.table import AREAS, TABLE, Mutant, mutants, planned, realised
from tests.mutants.trial import Trial

each = pytest.mark.parametrize("mutant", mutants(), ids=lambda one: f"{one.id}-{one.idea[:30]}")


def text_of(file):
    return (catalog.root() / file).read_text(encoding="utf-8")


def test_every_system_of_these_areas_has_a_mutant():
    without = realised().keys() - {mutant.id for mutant in mutants()}
    assert not without, f"add a mutant to tests/mutants/table for {', '.join(sorted(without))}"


def test_entries_are_of_these_areas_in_the_plans_order_and_none_stands_twice():
    assert {file.stem for file in TABLE.glob("*.yaml")} == set(AREAS)
    order = list(planned())
    places = [order.index(mutant.id) for mutant in mutants()]
    assert places == sorted(places)
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in mutants()}) == len(mutants())


@each
def test_an_entry_changes_what_the_file_of_its_system_does(mutant):
    assert mutant.file == realised()[mutant.id].file
    text = text_of(mutant.file)
    after = mutant.applied(text)
    compile(after, mutant.file, "exec")
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(text)), "a comment or a space"
    assert mutant.idea.strip() == mutant.idea
    assert mutant.idea.endswith(".")


@each
def test_the_test_of_an_entry_is_one_of_its_system(mutant):
    file, _, name = mutant.test.partition("::")
    assert file in realised()[mutant.id].tests
    tests = {one.name for one in ast.parse(text_of(file)).body if isinstance(one, ast.FunctionDef)}
    assert name.startswith("test_")
    assert name in tests


def test_the_page_is_of_this_table_and_all_are_killed():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert rows == [row(mutant, "killed") for mutant in mutants()], "run make mutants"


@pytest.mark.parametrize("text", ["", "a = 1\na = 1\n"])
def test_an_old_text_that_does_not_stand_exactly_once_is_refused(text):
    mutant = Mutant(id="x", idea="", file="x.py", old="a = 1", new="a = 2", test="")
    with pytest.raises(ValueError, match=f"x: 'a = 1' stands {text.count('a')} times in x.py"):
        mutant.applied(text)


def test_what_was_not_tried_stands_on_the_page_as_before():
    first, second, *_ = mutants()
    text = page([Trial(first, "killed", "")], before=row(second, "SURVIVED"))
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(mutants())
    assert rows[:2] == [row(first, "killed"), row(second, "SURVIVED")]
    assert all(line.endswith("| not tried |") for line in rows[2:])
