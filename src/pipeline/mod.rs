//! Source -> extract -> sink: batching, back-pressure, order, report.
