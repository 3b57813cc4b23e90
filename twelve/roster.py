"""The tasks of a served model, as `GET /v1/tasks` lists them."""

from collections.abc import Collection

from twelve.schema import ListedTask, ModelName, TaskList
from twelve.tasks import TASKS


def roster(model: ModelName, known: Collection[str]) -> TaskList:
    """List the tasks that a model was trained on.

    Args:
        model: Which is served.
        known: Names of its tasks.

    Returns:
        The tasks in the order of their tokens, each with the JSON schema of its fields.
    """
    tasks = [task for task in TASKS.values() if task.name in known]
    return TaskList(
        model=model,
        tasks=tuple(
            ListedTask(
                task=task.name,
                token=task.token,
                summary=task.summary,
                path=f"/v1/tasks/{task.name}",
                request=task.request.model_json_schema(),
            )
            for task in tasks
        ),
    )
