from celery.result import AsyncResult
from django.http import JsonResponse


def state(request, result_id):
    result = AsyncResult(result_id)
    return JsonResponse({"ready": result.ready(), "value": result.result if result.successful() else None})
