"""TLS as a whole."""

from postwarden.config.parameters.kinds import Parameter, items, maps, number, switch, text, time

PARAMETERS: tuple[Parameter, ...] = (
    switch("tls_append_default_CA"),
    text("tls_config_file", "default"),
    text("tls_config_name"),
    number("tls_daemon_random_bytes", "32"),
    items("tls_dane_digests", "sha512 sha256"),
    items("tls_disable_workarounds"),
    items("tls_eecdh_auto_curves", "X25519 X448 prime256v1 secp521r1 secp384r1"),
    text("tls_eecdh_strong_curve", "prime256v1"),
    text("tls_eecdh_ultra_curve", "secp384r1"),
    text("tls_export_cipherlist", "aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH"),
    switch("tls_fast_shutdown_enable", "yes"),
    text("tls_high_cipherlist", "aNULL:-aNULL:HIGH:@STRENGTH"),
    switch("tls_legacy_public_key_fingerprints"),
    text("tls_low_cipherlist", "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH"),
    text("tls_medium_cipherlist", "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH"),
    text("tls_null_cipherlist", "eNULL:!aNULL"),
    switch("tls_preempt_cipherlist"),
    number("tls_random_bytes", "32"),
    text("tls_random_exchange_name", "${data_directory}/prng_exch"),
    time("tls_random_prng_update_period", "3600s"),
    time("tls_random_reseed_period", "3600s"),
    text("tls_random_source", "dev:/dev/urandom"),
    maps("tls_server_sni_maps"),
    text("tls_session_ticket_cipher", "aes-256-cbc"),
    items("tls_ssl_options"),
    switch("tls_wildcard_matches_multiple_labels", "yes"),
    text("tlsmgr_service_name", "tlsmgr"),
)
