"""A small Celery project in four versions, before and after each of three deploys.

`before` is whole; `adopted`, `halfway` and `moved` hold the files that their deploy changes, and nothing else.
"""
