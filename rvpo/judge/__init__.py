"""LLM judges: worker processes that ask endpoints about responses, and the clients that use them.

The language of both:

    types.py     jobs, questions, answers        prompt.py    what the judge reads
    handshake.py one run's proof of itself       verdict.py   what its reply means

client/, on every rank, beside the trainer:

    client.py    sends jobs, awaits answers      workers.py   starts workers, keeps them up
    link.py      its line to one worker          server.py    a judge served by vLLM itself
    service.py   all of this, for a run

worker/, in a process of its own, which never imports torch:

    main.py      takes jobs, sends answers       cache.py     verdicts already known
    asker.py     retries, hedges, gives up       limits.py    when a call may go out
    router.py    who asks which endpoint next    endpoint.py  one call

classifier/, a program that serves a sequence classifier on this machine:

    main.py      its route                       model.py     tokens and scores
    batches.py   inputs that are scored together
"""
