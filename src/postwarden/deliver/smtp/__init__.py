"""Delivery by SMTP and LMTP: `deliverer.SmtpDeliverer` takes jobs, `session` holds a connection, `transaction` sends
one message over it, `reasons` has every sentence that an operator reads about it."""
