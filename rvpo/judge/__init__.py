"""LLM judges: worker processes that ask endpoints about responses, and the clients that use them.

types.py    jobs, questions, answers       prompt.py   what the judge reads
worker.py   the process that asks           verdict.py  what its reply means
workers.py  starts workers, keeps them up   cache.py    verdicts already known
client.py   sends jobs, awaits answers      server.py   a judge served by vLLM itself
"""
