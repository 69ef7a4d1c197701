from twisted.application.service import ServiceMaker

moxmail = ServiceMaker("moxmail", "moxtwisted.tap", "An all-in-one mail server.", "moxmail")
badsmtp = ServiceMaker(
    "badsmtp", "moxtwisted.tap.badsmtp", "A mail server that misbehaves on request.", "badsmtp"
)
