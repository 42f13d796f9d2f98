"""Both. Records of tasks as rows of the project's own database: ``"tasks_celery.database"`` in INSTALLED_APPS.

`models` has the tables, `store` the store that ``OPTIONS["RESULTS"] = "database://"`` opens.
"""
