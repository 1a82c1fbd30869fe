/**
 * Owns one log line as text. What comes from outside (names, addresses, messages of errors) cannot begin a line of its own
 * nor move the terminal's cursor.
 *
 *   level, message, fields -> textLine -> 2026-01-02T03:04:05.678Z info listening service=default/web port=30080
 */
import { errorText } from '../config/error-text.js';
import type { LogFields } from '../config/log.js';

export function textLine(time: string, level: string, message: string, fields: LogFields): string {
  let line = `${time} ${level} ${message}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${name}=${valueText(value)}`;
  }
  return `${escapeControls(line)}\n`;
}

/** Text is quoted where it would not read as one word; objects and arrays stand as JSON. */
function valueText(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(shorten(errorText(value)));
  if (typeof value === 'object' && value !== null) return shorten(jsonText(value));
  const text = shorten(String(value));
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/** Objects in fields are ours; should one not be JSON after all, the line is still written. */
function jsonText(value: object): string {
  try {
    return JSON.stringify(value);
  } catch {
    return '"(not JSON)"';
  }
}

const MAX_VALUE_LENGTH = 4_096;

function shorten(text: string): string {
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}...` : text;
}

/** C0, DEL, C1, line and paragraph separators, and the marks that reverse the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function escapeControls(text: string): string {
  return text.replace(CONTROLS, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
