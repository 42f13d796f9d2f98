from django.http import JsonResponse

from tasks_celery.compat import task_backends


def state(request, result_id):
    result = task_backends["default"].get_result(result_id)
    value = result.return_value if result.status == "SUCCESSFUL" else None
    return JsonResponse({"ready": result.is_finished, "value": value})
