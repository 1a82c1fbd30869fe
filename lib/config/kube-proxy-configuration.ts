/**
 * Owns the format KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1: its fields, their types, and which flag each stands for.
 *
 *   JSON value of a file -> readConfiguration -> texts for flags | faults; fields without effect, unknown fields (rule C4)
 *   values of flags -> configurationOf -> JSON value for a file
 *
 * A field that has a flag becomes the flag's text, so that flag and field have one parser, one set of bounds and one message.
 */
import { formatDuration } from './duration.js';
import { FIELDS, type Field, type FieldType, SECTIONS } from './kube-proxy-configuration-fields.js';
import { quote } from './parsed.js';

export const API_VERSION = 'kubeproxy.config.k8s.io/v1alpha1';
export const KIND = 'KubeProxyConfiguration';

/** Names of fields from the top. */
export type FieldPath = readonly string[];

/** A field that says something, as text for its flag. */
export interface GivenField {
  readonly path: FieldPath;
  readonly flag: string;
  readonly text: string;
}

export interface FieldFault {
  readonly path: FieldPath;
  /** `"5x": expected a duration such as 250ms, 1m30s or 1h`. */
  readonly message: string;
}

export interface ReadConfiguration {
  readonly given: readonly GivenField[];
  /** Fields of kube-proxy's other modes that say something. */
  readonly unused: readonly FieldPath[];
  readonly unknown: readonly FieldPath[];
  readonly faults: readonly FieldFault[];
}

/** Everything that the value says, and all that is wrong with its shape and types; the flags check the values. */
export function readConfiguration(value: unknown): ReadConfiguration {
  const read = { given: [], unused: [], unknown: [], faults: [] };
  if (!isObject(value)) return { ...read, faults: [wrong([], value, `an object of kind ${KIND}`)] };
  const faults = [...checkWord(value, 'apiVersion', API_VERSION), ...checkWord(value, 'kind', KIND)];
  // Of another kind not one field would make sense.
  if (faults.length > 0) return { ...read, faults };
  const { apiVersion: _apiVersion, kind: _kind, ...fields } = value;
  readFields(fields, [], read);
  return read;
}

interface Reading {
  readonly given: GivenField[];
  readonly unused: FieldPath[];
  readonly unknown: FieldPath[];
  readonly faults: FieldFault[];
}

function readFields(object: Readonly<Record<string, unknown>>, at: FieldPath, into: Reading): void {
  for (const [name, value] of Object.entries(object)) {
    const path = [...at, name];
    const key = path.join('.');
    const field = Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined;
    if (field !== undefined && path.length === key.split('.').length) readField(field, path, value, into);
    else if (at.length > 0 || !SECTIONS.has(name)) into.unknown.push(path);
    else if (isObject(value)) readFields(value, path, into);
    else if (value !== null) into.faults.push(wrong(path, value, 'an object'));
  }
}

function readField({ type, flag, zeroCounts }: Field, path: FieldPath, value: unknown, into: Reading): void {
  // As in Go, null is a field that is not there.
  if (value === null) return;
  const { isIt, expected, isZero, text } = TYPES[type];
  if (!isIt(value)) into.faults.push(wrong(path, value, expected));
  else if (isZero(value) && zeroCounts !== true) return;
  else if (flag === undefined) into.unused.push(path);
  else into.given.push({ path, flag, text: text(value) });
}

interface TypeRule {
  readonly isIt: (value: unknown) => boolean;
  readonly expected: string;
  /** Go's zero value. */
  readonly isZero: (value: unknown) => boolean;
  /** For the flag. */
  readonly text: (value: unknown) => string;
}

const TYPES: Readonly<Record<FieldType, TypeRule>> = {
  text: { isIt: isText, expected: 'a text', isZero: (value) => value === '', text: String },
  number: { isIt: isNumber, expected: 'a number', isZero: (value) => value === 0, text: String },
  whole: { isIt: isNumber, expected: 'a whole number', isZero: (value) => value === 0, text: String },
  boolean: {
    isIt: (value) => typeof value === 'boolean',
    expected: 'true or false',
    isZero: (value) => value === false,
    text: String,
  },
  duration: {
    isIt: isText,
    expected: 'a duration such as 250ms, 1m30s or 1h',
    // Go writes 0s, and with it the units before it: 0h0m0s.
    isZero: (value) => /^(?:0|(?:0[a-zµμ]+)+)$/.test(String(value)),
    text: String,
  },
  texts: {
    isIt: (value) => Array.isArray(value) && value.every(isText),
    expected: 'a list of texts',
    isZero: (value) => Array.isArray(value) && value.length === 0,
    text: String,
  },
  booleans: {
    isIt: (value) => isObject(value) && Object.values(value).every((one) => typeof one === 'boolean'),
    expected: 'names with true or false each',
    isZero: (value) => isObject(value) && Object.keys(value).length === 0,
    text: (value) => gatesText(isObject(value) ? value : {}),
  },
  any: { isIt: () => true, expected: 'anything', isZero: (value) => value === 0 || isEmptied(value), text: String },
};

/** `logging.options` is written out in full, with zeros all the way down. */
function isEmptied(value: unknown): boolean {
  if (isObject(value)) return Object.values(value).every(isEmptied);
  if (Array.isArray(value)) return value.length === 0;
  return value === null || value === false || value === '' || value === '0' || value === 0;
}

/**
 * A file that says what the values of the flags say; `valueFor` answers for each name in FLAGS_OF_FIELDS. Fields without
 * effect are left out, and so is what has no value.
 */
export function configurationOf(valueFor: (flag: string) => unknown): Readonly<Record<string, unknown>> {
  const file: Record<string, unknown> = { apiVersion: API_VERSION, kind: KIND };
  const sections = new Map<string, Record<string, unknown>>();
  for (const [key, { type, flag }] of Object.entries(FIELDS)) {
    const value = flag === undefined ? undefined : valueFor(flag);
    if (value === undefined) continue;
    const written = type === 'duration' && typeof value === 'number' ? durationText(value) : value;
    const [first = '', second] = key.split('.');
    if (second === undefined) {
      file[first] = written;
      continue;
    }
    const section = sections.get(first) ?? {};
    section[second] = written;
    sections.set(first, section);
    file[first] = section;
  }
  return file;
}

/** In a file 0 means the default: the shortest time that is none means no pause. */
function durationText(ms: number): string {
  return ms === 0 ? '1ns' : formatDuration(ms);
}

function gatesText(gates: Readonly<Record<string, unknown>>): string {
  return Object.entries(gates)
    .map(([name, on]) => `${name}=${on}`)
    .join(',');
}

function checkWord(value: Readonly<Record<string, unknown>>, name: string, word: string): readonly FieldFault[] {
  return value[name] === word ? [] : [wrong([name], value[name], word)];
}

function wrong(path: FieldPath, value: unknown, expected: string): FieldFault {
  return { path, message: `${shown(value)}: expected ${expected}` };
}

function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return quote(value);
  if (Array.isArray(value)) return 'a list';
  return isObject(value) ? 'an object' : String(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
