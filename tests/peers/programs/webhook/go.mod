module plimsoll.dev/tests/peers/webhook

go 1.26.0
