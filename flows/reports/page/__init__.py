"""A run as one HTML file for people: what came out, how sure that is, and what it was made of.

`writing` puts sections together; a section is a module that turns a `subject.Subject` into `blocks`, knows neither HTML
nor CSS, and gives None where a run has nothing for it. The template alone writes HTML, and escapes every name of a
user's. Charts are drawn here, as SVG without a script (`charts`).
"""
