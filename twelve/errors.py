"""The error tree. One class a kind of failure; each knows its code, its HTTP status and whose fault it is.

    TwelveError
    ├── RequestError              the caller's fault; the message says what would do
    │   ├── Malformed             400  the body is not what its content type says
    │   ├── Unauthorised          401  a key is missing or wrong
    │   ├── UnknownTask           404  no task bears this name or token
    │   ├── UnknownRef            404  no picture is kept under this ref
    │   ├── MethodNotAllowed      405  predictions are asked for by POST
    │   ├── TaskNotInCheckpoint   409  the task exists, this bundle was not trained on it
    │   ├── TooLarge              413  more bytes, pixels or text than the limits allow
    │   ├── UnsupportedMediaType  415  a content type that is neither JSON nor a form
    │   ├── InvalidField          422  a field is missing, superfluous or has a wrong value
    │   ├── UnreadableImage       422  the bytes are no picture in an allowed format
    │   └── QueueFull             429  come back later
    ├── ServerError               our fault
    │   ├── EngineFailed          500
    │   │   └── DeviceLost        500  and no later request can be answered by this process
    │   ├── NoWorker              503
    │   ├── DeadlineExceeded      504
    │   └── OutOfMemory           507
    ├── StartupError              refuses to start, exit code 2
    │   ├── BundleMissing
    │   ├── ChecksumMismatch
    │   ├── TokenClash
    │   └── ConfigInvalid
    ├── DataError                 a file of annotations, features or an index is not as its format says; exit code 65
    │   └── WeightsInvalid        a checkpoint to import is not the one it should be
    └── FetchFailed               a published file could not be downloaded

An error of one request is a value that travels beside its neighbours' answers (`twelve.service.each`);
an error at start-up is raised and ends the process.
"""

from typing import ClassVar


class TwelveError(Exception):
    """The root: a sentence for people, a code and a status for programs.

    Attributes:
        code: What kind of failure, in words that never change.
        status: The HTTP status it is answered with.
        message: What was wrong, what was got, what would do.
        at: The field it is about, as a path ("images[1]"), or None.
        task: Name of the task that was asked for, as far as it is known; for figures by task.
        request_id: What a server's log calls the request that it answered so; set by `twelve.client`.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    is_final: ClassVar[bool] = False
    """Whether the process is of no use after it."""

    def __init__(self, message: str, *, at: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.task: str | None = None
        self.request_id: str | None = None


class RequestError(TwelveError):
    """The request cannot be answered as it stands; sending it again unchanged will not help."""

    code = "malformed"
    status = 400


class Malformed(RequestError):
    """The body is not the JSON or the form that its content type promises."""

    code = "malformed"
    status = 400


class Unauthorised(RequestError):
    """A key is required and is missing or wrong."""

    code = "unauthorised"
    status = 401


class UnknownPath(RequestError):
    """Nothing is served at this address."""

    code = "unknown-path"
    status = 404


class UnknownTask(RequestError):
    """No task bears this name or token number."""

    code = "unknown-task"
    status = 404


class UnknownRef(RequestError):
    """No picture is kept under this ref, or no longer."""

    code = "unknown-ref"
    status = 404


class MethodNotAllowed(RequestError):
    """Predictions are asked for by POST."""

    code = "method"
    status = 405


class TaskNotInCheckpoint(RequestError):
    """The task exists, but the bundle that is served was not trained on it."""

    code = "task-not-in-checkpoint"
    status = 409


class TooLarge(RequestError):
    """More bytes, pixels or text than the limits allow. Too many entries in a list are an InvalidField."""

    code = "too-large"
    status = 413


class UnsupportedMediaType(RequestError):
    """The content type is neither JSON nor a multipart form."""

    code = "media-type"
    status = 415


class InvalidField(RequestError):
    """A field is missing, unknown, or holds a value that does not fit."""

    code = "invalid-field"
    status = 422


class UnreadableImage(RequestError):
    """The bytes are no picture in an allowed format, or a broken one."""

    code = "unreadable-image"
    status = 422


class QueueFull(RequestError):
    """The server has as much work waiting as it accepts."""

    code = "queue-full"
    status = 429


class ServerError(TwelveError):
    """The request was fine; we failed."""

    code = "engine-failed"
    status = 500


class EngineFailed(ServerError):
    """A model graph raised, or answered with numbers that are none."""

    code = "engine-failed"
    status = 500


class DeviceLost(EngineFailed):
    """The device that the model runs on cannot be used any more by this process."""

    is_final = True


class NoWorker(ServerError):
    """No worker is ready."""

    code = "no-worker"
    status = 503


class DeadlineExceeded(ServerError):
    """The request's own time limit passed before it was answered."""

    code = "deadline"
    status = 504


class OutOfMemory(ServerError):
    """The machine or the device has no memory for this request."""

    code = "out-of-memory"
    status = 507


class StartupError(TwelveError):
    """What is to be served is not fit to be served. The process refuses to start with exit code 2."""

    code = "startup"
    exit_code: ClassVar[int] = 2


class BundleMissing(StartupError):
    """A bundle, or a file that its manifest names, is not there."""

    code = "bundle-missing"


class ChecksumMismatch(StartupError):
    """A file's sha256 is not the one its manifest states."""

    code = "checksum-mismatch"


class TokenClash(StartupError):
    """Two tasks claim one token number, or one task claims a reserved one."""

    code = "token-clash"


class ConfigInvalid(StartupError):
    """A configuration has a missing, unknown or contradictory entry."""

    code = "config-invalid"


class DataError(TwelveError):
    """A file of annotations, features or an index is not as its format says; names file, row and field."""

    code = "data"
    exit_code: ClassVar[int] = 65


class WeightsInvalid(DataError):
    """A checkpoint, or a list of answers that goes with it, is not the one it should be; names the key or the entry."""

    code = "weights-invalid"


class FetchFailed(TwelveError):
    """A file that others published could not be downloaded, or is not what was published."""

    code = "fetch-failed"
