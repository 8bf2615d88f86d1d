"""The venue's refusals: code, text and HTTP status as Binance USD-M answers them."""

from __future__ import annotations

from typing import Final


class ApiError(Exception):
    """A request refused with a code of the venue's error table; becomes the reply body."""

    def __init__(
        self,
        code: int,
        text: str,
        *,
        status: int = 400,
        retry_after_s: int = 0,
        is_violation: bool = True,
        is_gateway: bool = False,
    ) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text
        self.status = status
        self.retry_after_s = retry_after_s
        self.is_violation = is_violation
        """Of a limit: whether the client should have known better."""
        self.is_gateway = is_gateway
        """Whether it comes from the venue's gateway, whose bodies over REST are not JSON."""


_TEXTS: Final[dict[int, str]] = {
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -1131: "recvWindow must be less than 60000",
    -1136: "Invalid newOrderRespType.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4006: "Stop price less than zero.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id length should be less than 36 chars",
    -4021: "Invalid depth limit.",
    -4023: "Quantity not increased by step size.",
    -4028: "Leverage is not valid",
    -4031: "Invalid working type",
    -4032: "Exceed maximum cancel order size.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4082: "Invalid number of batch place orders.",
    -4084: "Method is not allowed currently. Coming soon.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints "
    "instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is "
    "existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4135: "Invalid activation price",
    -4136: "Target strategy invalid for orderType and closePosition",
    -4137: "Quantity must be zero with closePosition equals true",
    -4138: "Reduce only must be true with closePosition equals true",
    -4140: "Invalid symbol status for opening position.",
    -4171: "No need to change Multi-Assets mode.",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5025: "Only limit order is supported.",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    -5037: "Invalid price match",
    -5038: "Price match only supports order type: LIMIT, STOP AND TAKE_PROFIT",
    -5039: "Invalid self trade prevention mode.",
    -5040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds and "
    "smaller than 253402300799000",
    -5041: "No depth matches this BBO order",
    -5047: "The original order is not a reduce-only order",
}
_STATUSES: Final[dict[int, int]] = {-2014: 401, -2015: 401, -1003: 429, -1015: 429, -5000: 404}


def refuse(code: int, text: str = "") -> ApiError:
    """The error of a code, with the venue's own text unless another is given."""
    return ApiError(code, text or _TEXTS[code], status=_STATUSES.get(code, 400))


def missing(name: str) -> ApiError:
    """-1102: a mandatory parameter is absent or malformed."""
    return refuse(
        -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    )


def illegal(name: str) -> ApiError:
    """-1100: characters that the parameter may not have."""
    return refuse(-1100, f"Illegal characters found in parameter '{name}'.")


def not_required(name: str) -> ApiError:
    """-1106: a parameter that has no place in this request."""
    return refuse(-1106, f"Parameter '{name}' sent when not required.")


def wrong_path(path: str, method: str) -> ApiError:
    """-5000: no such path, or not with this method."""
    return refuse(-5000, f"Path {path}, Method {method} is invalid")
