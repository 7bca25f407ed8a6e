import pytest

from sweeper.launchers.kubernetes.cron import cron_fault, time_zone_fault


@pytest.mark.parametrize(
    "line",
    [
        "* * * * *", "0 2 * * *", "*/15 * * * ?", "0,30 8-18/2 1,15 jan-mar,12 *", "5/10 0 * * *",
        "0 0 29 feb *", "0 0 31 2 mon", "0 0 * * SUN-sat", "0  0\t1 1 0", "@daily", "@yearly",
        "0 0 31 4,5 *", "59 23 31 12 6",
    ],
)  # fmt: skip
def test_lines_that_start_something(line: str) -> None:
    assert cron_fault(line) == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", "must have five fields, minute hour day month weekday, e.g. '0 2 * * mon-fri', "
             "this one has 0"),
        ("0 0 2 * * *", "must have five fields, minute hour day month weekday, e.g. "
                        "'0 2 * * mon-fri', this one has 6"),
        ("60 * * * *", "the minute lies in 0 to 59"),
        ("* 24 * * *", "the hour lies in 0 to 23"),
        ("* * 0 * *", "the day lies in 1 to 31"),
        ("* * * 13 *", "the month lies in 1 to 12 or jan to dec"),
        ("* * * * 7", "the weekday lies in 0 to 6 or sun to sat; Sunday is 0"),
        ("* * * * monday", "the weekday lies in 0 to 6 or sun to sat"),
        ("* * mon * *", "the day lies in 1 to 31"),
        ("*/0 * * * *", "minute '*/0' has a step of 0"),
        ("30-10 * * * *", "minute '30-10' ends before it begins; write two with a comma"),
        ("* * * * fri-mon", "weekday 'fri-mon' ends before it begins; write two with a comma"),
        ("1, * * * *", "minute '' is none of *, 5, 1-5, */10, 1-30/10"),
        ("1-2-3 * * * *", "minute '1-2-3' is none of *, 5, 1-5, */10, 1-30/10"),
        ("-1 * * * *", "minute '-1' is none of *, 5, 1-5, */10, 1-30/10"),
        ("1.5 * * * *", "minute '1.5' is none of *, 5, 1-5, */10, 1-30/10"),
        ("* * L * *", "the day lies in 1 to 31"),
        ("0 0 30 2 *", "no month of these has a day 30"),
        ("0 0 31 4,jun *", "no month of these has a day 31"),
        ("@dayly", "there is no such macro; did you mean '@daily'?"),
        ("@every 1h", "there is no such macro; known: @annually, @daily, @hourly, @midnight, "
                      "@monthly, @weekly, @yearly"),
        ("TZ=Europe/Zurich 0 2 * * *", "the time zone goes into timeZone"),
    ],
)  # fmt: skip
def test_lines_that_start_nothing(line: str, fault: str) -> None:
    assert cron_fault(line) == fault


@pytest.mark.parametrize("name", ["UTC", "Europe/Zurich", "America/New_York"])
def test_time_zones(name: str) -> None:
    assert time_zone_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("Europe/Zuerich", "there is no such time zone; did you mean 'Europe/Zurich'?"),
        ("Local", "there is no such time zone; e.g. Europe/Zurich"),
        ("", "there is no such time zone; e.g. Europe/Zurich"),
        ("../UTC", "there is no such time zone; did you mean 'UTC'?"),
    ],
)
def test_no_time_zones(name: str, fault: str) -> None:
    assert time_zone_fault(name) == fault
