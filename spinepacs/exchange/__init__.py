"""Results in the words of other systems: FHIR resources, HL7 v2 messages. What is withheld is in none of them.

Makes documents and sends nothing: they go the way of all objects, by ``store``'s outbox and ``delivery``.

May import: ``dicom``, ``domain``, ``settings``. Begin with ``documents.py``.
"""
