"""LLM judges: worker processes that ask endpoints about responses, and the clients that use them.

The language of both:

    types.py     jobs, questions, answers        prompt.py    what the judge reads
    sheet.py     several criteria in one call    verdict.py   what its reply means
    template.py  a user's own words for it       verdicts.py  what a reply to a sheet means
    handshake.py one run's proof of itself       spending.py  what a judge has cost

client/, on every rank, beside the trainer:

    client.py    sends jobs, awaits answers      workers.py   starts workers, keeps them up
    link.py      its line to one worker          server.py    a judge served by vLLM itself
    service.py   all of this, for a run

worker/, in a process of its own, which never imports torch:

    main.py      takes jobs, sends answers       cache.py     verdicts already known
    asker.py     known, on the way, or new     caller.py    retries, hedges, gives up
    router.py    who asks which endpoint next    endpoint.py  one call
    limits.py    when a call may go out          purse.py     if it can still be paid

classifier/, a program that serves a sequence classifier on this machine:

    main.py      its route                       model.py     tokens and scores
    batches.py   inputs that are scored together
"""
