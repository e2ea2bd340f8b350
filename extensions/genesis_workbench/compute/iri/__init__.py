"""The IRI Facility API of research facilities, version 1 and 2: client, files, jobs in its words.

Nothing here keeps a job; that is the scheduler's (schedulers/iri.py). The token stays in client.py and token.py.
"""
