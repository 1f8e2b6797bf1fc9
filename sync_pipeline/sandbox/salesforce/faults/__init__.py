"""Faults on demand: what goes wrong, where, after how many calls and how often.

Rules come from a file (`sync-pipeline sandbox --faults FILE`, YAML or JSON: a list) and from `/sandbox/faults`: POST adds a
list of rules or one, GET lists those not used up yet, DELETE forgets all. A rule is

    {"action": ..., "path": REGEX, "method": "GET", "org": "stripe", "after": 0, "times": 1, "chance": 1}

The expression is searched in path and query. Calls that fit path, method and organization are counted from when the rule
came: the first `after` of them pass. Then it strikes `times` calls (0: for ever), each with the `chance` given, drawn from a
generator that is seeded with the world's seed and the rule's number. An action that can't do anything to a call (a page can't
end early where there is none) waits for the next that it can. So {"path": "", "after": n} is the n-th call from now on,
counting from 0. One rule strikes a call, the first that can; `slow` and `bandwidth` come on top of it.

Answers instead of Salesforce's. With "done": true the work is done all the same, and only its answer is lost:
    status            {"status": 503, "body": "", "headers": {}}; the body may be JSON
    html              {"status": 200}: a page for people
    empty             {"status": 200}: nothing
    no_result_pages   404, as where resultPages are not offered
    expire_locator    400 for a request with a locator: INVALIDLOCATOR of Bulk, INVALID_QUERY_LOCATOR of a query
    concurrent_limit  403 REQUEST_LIMIT_EXCEEDED while more than {"limit": 0} calls of the organization are being served

What Salesforce holds changes; then it answers as it does:
    expire_session    the session of this call ends
    fail_job          the job that the call names has failed: {"message": "InternalServerError : ..."}
    abort_job         somebody aborted it
    lose_job          it is gone: 404

Salesforce's answer, altered. It stays a whole HTTP answer:
    truncate          a page of CSV ends after {"rows": n} rows, or after {"bytes": n}, maybe within a row; else after half
    wrong_count       Sforce-NumberOfRecords and a job's numberRecordsProcessed are off by {"by": 1}
    result_chunks     resultPages in the other spelling: resultChunks[].resultLink, relative to the version's root

What the line does to it:
    slow              the first byte comes {"seconds": s} late; the work is done by then
    bandwidth         {"bytes_per_second": n}, of what leaves, so after gzip; a connection serves one answer at a time
    cut               {"bytes": 0} of a longer body come through, and the connection closes

Saves of records:
    refuse            {"ids": [...], "code", "message", "fields"}: saves of these fail, `times` each; without ids, of any
    lock              the same as UNABLE_TO_LOCK_ROW; path, method and org are those of the call that led to the save
"""

from sync_pipeline.sandbox.salesforce.faults.in_force import Faults
from sync_pipeline.sandbox.salesforce.faults.rules import Rule, WrongRule, read_file, read_rules
from sync_pipeline.sandbox.salesforce.faults.visits import Visit, Visits

__all__ = ["Faults", "Rule", "Visit", "Visits", "WrongRule", "read_file", "read_rules"]
