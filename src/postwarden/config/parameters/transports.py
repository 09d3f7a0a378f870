"""Parameters whose name begins with the name of a master.cf transport: `smtp_destination_concurrency_limit`."""

from postwarden.config.parameters.kinds import Parameter, number, text, time

PATTERNS: tuple[Parameter, ...] = (
    number("_destination_concurrency_failed_cohort_limit", "$default_destination_concurrency_failed_cohort_limit"),
    number("_destination_concurrency_limit", "$default_destination_concurrency_limit"),
    text("_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback"),
    text("_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback"),
    time("_destination_rate_delay", "$default_destination_rate_delay", low=0, unit="s"),
    number("_destination_recipient_limit", "$default_destination_recipient_limit"),
    number("_initial_destination_concurrency", "$initial_destination_concurrency", low=1),
    number("_delivery_slot_cost", "$default_delivery_slot_cost"),
    number("_delivery_slot_discount", "$default_delivery_slot_discount"),
    number("_delivery_slot_loan", "$default_delivery_slot_loan"),
    number("_extra_recipient_limit", "$default_extra_recipient_limit"),
    number("_minimum_delivery_slots", "$default_minimum_delivery_slots"),
    number("_recipient_limit", "$default_recipient_limit"),
    time("_recipient_refill_delay", "$default_recipient_refill_delay", unit="s"),
    number("_recipient_refill_limit", "$default_recipient_refill_limit", low=1),
    time("_time_limit", "$command_time_limit", unit="s"),
    time("_transport_rate_delay", "$default_transport_rate_delay", low=0, unit="s"),
)
