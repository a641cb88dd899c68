//! Notify: from an alert to a person.
