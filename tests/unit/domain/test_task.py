from dataclasses import replace

from tests.unit.builders import NOW, new_task, task_in
from vidu_relay.domain.states import SETTLED, Status
from vidu_relay.domain.task import DELIVERY_DELAYED, Candidate, HistoryEntry, Output


def test_a_remote_task_s_ids_are_each_named_once_the_one_it_is_read_by_first() -> None:
    task = new_task(remote_id="gen", aliases=("alias", "gen"), upstream_id="alias")
    assert task.remote_ids == ("gen", "alias")
    assert new_task().remote_ids == ()
    assert new_task(upstream_id="up").remote_ids == ("up",)
    assert new_task(candidates=(Candidate("b"), Candidate("a", NOW))).candidate_ids == ("b", "a")


def test_as_many_videos_are_expected_as_the_provider_showed() -> None:
    outputs = (Output("a", "done", ("1", "2")), Output("b", "failed"), Output(None, None, ("3",)))
    assert new_task(outputs=outputs).expected_videos == 3


def test_a_task_was_generated_when_it_last_became_so_and_a_notice_is_no_change() -> None:
    entries = [
        HistoryEntry(NOW, Status.ACCEPTED, "http"),
        HistoryEntry(NOW + 1, Status.GENERATED, "callback"),
        HistoryEntry(NOW + 2, Status.GENERATED, DELIVERY_DELAYED),
        HistoryEntry(NOW + 3, Status.EXPIRED, "delivery"),
        HistoryEntry(NOW + 4, Status.GENERATED, "operator"),
        HistoryEntry(NOW + 5, Status.GENERATED, DELIVERY_DELAYED),
    ]
    moments = [replace(new_task(), history=tuple(entries[:n])).generated_at for n in range(1, 7)]
    assert moments == [None, NOW + 1, NOW + 1, NOW + 1, NOW + 4, NOW + 4]


def test_a_client_waits_until_a_task_is_settled_and_chooses_off_peak() -> None:
    assert {status for status in Status if task_in(status).settled} == SETTLED
    assert [new_task(request={"off_peak": off_peak}).off_peak for off_peak in (True, False)] == [True, False]
    assert not new_task(request={}).off_peak
