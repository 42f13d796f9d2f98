import os

SECRET_KEY = "of a test"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_celery_results",
    "django_celery_beat",
    "orders",
    "tasks_celery",
    "tasks_celery.beat",
]
ROOT_URLCONF = "office.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["OFFICE_DATABASE"],
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
NOTES_URL = os.environ["OFFICE_NOTES"]

TASKS = {
    "default": {
        "BACKEND": "tasks_celery.CeleryBackend",
        "QUEUES": ["celery", "parcels"],  # those that the project has had all along
        "OPTIONS": {"RESULTS": NOTES_URL, "SWEEP_EVERY": None},  # None while workers run that keep no records
    }
}

CELERY_TASK_DEFAULT_PRIORITY = 5
CELERY_BROKER_URL = os.environ["OFFICE_BROKER"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_RESULT_BACKEND = os.environ["OFFICE_RESULTS"]
CELERY_RESULT_EXTENDED = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
if CELERY_BROKER_URL.startswith("redis"):
    # What a worker that is gone has not acknowledged comes back after so many seconds, and nothing here waits for longer.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60, "unacked_restore_interval": 2}
