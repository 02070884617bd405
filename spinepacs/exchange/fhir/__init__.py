"""Readings as FHIR resources: a DiagnosticReport with an Observation for each published measure, sign and conclusion.

``bundle`` puts them together; ``observations`` makes them; ``coding`` says codes as FHIR does; ``validation`` asks
fhir.resources. Begin with ``bundle.py``.
"""
