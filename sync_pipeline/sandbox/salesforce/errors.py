"""What Salesforce answers when it refuses: one exception for each shape of error body.

ApiError        a list of {"message", "errorCode", "fields"?}; nearly everything
OAuthError      {"error", "error_description"}; the token endpoint
RowError        one row of a collection or of an ingest job: {"statusCode", "message", "fields"}
"""

from __future__ import annotations

from dataclasses import dataclass


class ApiError(Exception):
    """A refused request.

    Args:
        code: Salesforce's `errorCode`.
        message: Salesforce's words.
        status: HTTP status.
        fields: names of the fields the error is about, where Salesforce names them.
    """

    def __init__(self, code: str, message: str, status: int = 400, fields: tuple[str, ...] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields

    def body(self) -> list[dict[str, object]]:
        """The JSON body: always a list."""
        error: dict[str, object] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = list(self.fields)
        return [error]


class OAuthError(Exception):
    """A refused token request; HTTP 400 unless said otherwise."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class RowError(Exception):
    """Why one row was not saved."""

    code: str
    message: str
    fields: tuple[str, ...] = ()

    def body(self) -> dict[str, object]:
        """The item of `errors` in the result of a save."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def in_csv(self) -> str:
        """The cell `sf__Error` of failedResults."""
        return f"{self.code}:{self.message}:{' '.join(self.fields) or '--'}"


def not_found() -> ApiError:
    """An address or a record that does not exist."""
    return ApiError("NOT_FOUND", "The requested resource does not exist", 404)


def invalid_session() -> ApiError:
    """An access token that is unknown, expired or revoked."""
    return ApiError("INVALID_SESSION_ID", "Session expired or invalid", 401)
