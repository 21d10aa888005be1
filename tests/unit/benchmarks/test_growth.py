"""Nothing grows with tasks that went well: the work is the same, whatever is in the table."""

from benchmarks.growth import measure


def test_no_work_grows_with_the_number_of_settled_tasks() -> None:
    for what, by_size in measure((30, 300)).items():
        assert by_size[30] == by_size[300], what


def test_the_work_is_counted_at_all() -> None:
    found = {what: by_size[25] for what, by_size in measure((25,)).items()}

    assert found["a sweep that finds nothing"].calls == 13  # nine shards, and a queue and a flag at each provider
    assert found["a page of 20 tasks"].keys == 21  # one more tells whether there is a next page
    assert 15 <= found["a task that goes well"].calls <= 30
    assert found["a task whose callbacks are lost"].keys == 1
