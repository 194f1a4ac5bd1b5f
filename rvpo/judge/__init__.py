"""LLM judges: worker processes that ask endpoints about responses, and the clients that use them.

On every rank, beside the trainer:

    types.py     jobs, questions, answers        service.py   all of this, for a run
    client.py    sends jobs, awaits answers      workers.py   starts workers, keeps them up
    link.py      its line to one worker          server.py    a judge served by vLLM itself

In a worker process, which never imports torch:

    worker.py    takes jobs, sends answers       prompt.py    what the judge reads
    asker.py     retries, hedges, gives up       verdict.py   what its reply means
    router.py    who asks which endpoint next    cache.py     verdicts already known
    endpoint.py  one call                        limits.py    when a call may go out
"""
