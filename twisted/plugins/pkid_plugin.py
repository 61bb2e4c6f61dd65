"""Makes ``twistd pkid`` known; what it names is imported only when it is chosen."""

from twisted.application.service import ServiceMaker

pkid = ServiceMaker(
    "pkid",
    "pkid.app.tap",
    "One certificate enrolment service for many protocols.",
    "pkid",
)
