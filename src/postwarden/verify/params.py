"""What address verification reads of main.cf."""

from msgspec import Struct


class VerifyParams(Struct, frozen=True):
    address_verify_cache_cleanup_interval: int
    address_verify_map: tuple[str, ...]
    address_verify_negative_cache: bool
    address_verify_negative_expire_time: int
    address_verify_negative_refresh_time: int
    address_verify_positive_expire_time: int
    address_verify_positive_refresh_time: int
    data_directory: str
