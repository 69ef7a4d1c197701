from twisted.application.service import ServiceMaker

moxmail = ServiceMaker("moxmail", "moxtwisted.tap", "An all-in-one mail server.", "moxmail")
