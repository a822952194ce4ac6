"""What the load generators print is read right."""

import json

import pytest
from bench.loads import parse_iperf3, parse_wrk
from bench.process import BenchError

WRK = """\
Running 2s test @ http://127.0.0.1:18080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.02ms  750.00us  12.10ms   90.00%
    Req/Sec     5.60k   210.00     6.00k    75.00%
  Latency Distribution
     50%  812.00us
     75%    1.50ms
     90%    2.00ms
     99%    1.25s\x20
  11180 requests in 2.01s, 1.70MB read
"""
TROUBLE = """\
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 8
Requests/sec:   5562.19
"""


def test_wrk() -> None:
    outcome = parse_wrk(WRK + "Requests/sec:   5562.19\n")
    assert (outcome.operations, outcome.seconds, outcome.errors) == (11180, 2.01, 0)
    assert outcome.p50 == pytest.approx(812e-6)
    assert outcome.p99 == 1.25


def test_every_kind_of_wrk_error_is_counted() -> None:
    assert parse_wrk(WRK + TROUBLE).errors == 15


def test_wrk_without_a_result_says_what_it_printed() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_iperf3_counts_gigabytes_that_arrived() -> None:
    outcome = parse_iperf3(json.dumps({"end": {"sum_received": {"bytes": 2_500_000_000, "seconds": 2.0}}}))
    assert (outcome.operations, outcome.seconds) == (2.5, 2.0)


def test_iperf3_error() -> None:
    with pytest.raises(BenchError, match="server is busy"):
        parse_iperf3(json.dumps({"start": {}, "error": "the server is busy"}))
