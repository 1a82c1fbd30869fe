/**
 * Owns `--config`: reading a KubeProxyConfiguration file, and what it and the command line are together (rules C1, C4).
 *
 *   file -> readDocument -> readConfiguration -> the parsers of the flags -> values and their places | faults with places
 *   flags + values of the file -> withConfigFile -> the flags that count
 *
 * As in kube-proxy, a file stands in for the flags that it has fields for: those are ignored, also where it does not say
 * anything, except for `HONOURED`.
 */
import {
  type FieldPath,
  type GivenField,
  type ReadConfiguration,
  readConfiguration,
} from '../config/kube-proxy-configuration.js';
import { FLAGS_OF_FIELDS, fieldOf } from '../config/kube-proxy-configuration-fields.js';
import { isFault } from '../config/parsed.js';
import { type Document, type Place, readDocument, splitDocuments } from '../source/manifests/documents.js';
import { decodeUtf8, readBytes } from '../source/manifests/file-text.js';
import { placeText } from '../source/manifests/manifest-fault.js';
import { pathText } from '../source/objects/fault.js';
import type { Flag } from './flag.js';
import { RUN_FLAGS } from './run-flags.js';
import type { RunFlagValues } from './run-options.js';

export type FlagName = keyof typeof RUN_FLAGS;

/**
 * kube-proxy lets a node's name and the log's flags count beside a file. So do we the mode, because the file of a cluster
 * says the mode of its kube-proxies, and what today's kube-proxy has no flag for.
 */
export const HONOURED: ReadonlySet<string> = new Set<FlagName>([
  'hostname-override',
  'v',
  'logging-format',
  'proxy-mode',
  'proxy-port-range',
  'udp-timeout',
]);

/** Ignored beside a file, although it has no field for them. */
const DEPRECATED: readonly FlagName[] = ['healthz-port', 'metrics-port'];

export interface ConfigFile {
  /** By flag; a field with a fault is not among them. */
  readonly values: ReadonlyMap<string, ConfigValue>;
  /** `iptables.masqueradeAll`: fields of kube-proxy's other modes that say something. */
  readonly unused: readonly string[];
  /** `/etc/kube-proxy.conf:7:3: iptables.synkPeriod` */
  readonly unknown: readonly string[];
  /** Each begins with its place. */
  readonly faults: readonly string[];
}

interface ConfigValue {
  readonly value: unknown;
  /** `/etc/kube-proxy.conf:7:3: iptables.syncPeriod` */
  readonly place: string;
}

/** `given`: flags of the command line, which decide whether a bad value in the file matters. */
export async function readConfigFile(file: string, given: ReadonlySet<string>): Promise<ConfigFile> {
  const read = await readBytes(file);
  if (read.kind !== 'bytes') {
    const why =
      read.kind === 'unreadable' ? read.fault : `expected a file, got ${read.kind === 'gone' ? 'none' : 'a directory'}`;
    return faulty(`${placeText(file, 0, 0)}: ${why}`);
  }
  const text = decodeUtf8(read.bytes);
  if (text === undefined) return faulty(`${placeText(file, 0, 0)}: expected UTF-8 text, got bytes that are none`);
  const pieces = splitDocuments(text);
  const [piece] = pieces;
  if (piece === undefined || pieces.length > 1) {
    return faulty(`${placeText(file, 0, 0)}: expected one document, got ${pieces.length}`);
  }
  const place = ({ line, column }: Place) => placeText(file, line + piece.line - 1, column);
  const document = readDocument(piece.text);
  if ('fault' in document) return faulty(`${place(document.place)}: ${document.fault}`);
  return contentOf(readConfiguration(document.value), given, document, place);
}

function faulty(fault: string): ConfigFile {
  return { values: new Map(), unused: [], unknown: [], faults: [fault] };
}

type Value = Exclude<Document, { readonly fault: string }>;

function contentOf(
  read: ReadConfiguration,
  given: ReadonlySet<string>,
  { placesOf }: Value,
  placeText: (at: Place) => string,
): ConfigFile {
  const values = new Map<string, ConfigValue>();
  const faults = [...read.faults];
  const placeOf = (path: FieldPath): Place => placesOf([path])[0] ?? { line: 1, column: 1 };
  const text = (path: FieldPath) =>
    path.length === 0 ? placeText(placeOf(path)) : `${placeText(placeOf(path))}: ${pathText(path)}`;
  for (const field of read.given) {
    const { flag, path } = field;
    const parsed = parse(field);
    if (!isFault(parsed)) values.set(flag, { value: parsed.value, place: text(path) });
    else if (!HONOURED.has(flag) || !given.has(flag)) faults.push({ path, message: `${parsed.fault}${hintOf(flag)}` });
  }
  const inOrder = faults
    .map((fault) => ({ ...fault, at: placeOf(fault.path) }))
    .sort((one, other) => one.at.line - other.at.line || one.at.column - other.at.column);
  return {
    values,
    unused: read.unused.map(pathText),
    unknown: read.unknown.map(text),
    faults: inOrder.map(({ path, message }) => `${text(path)}: ${message}`),
  };
}

function parse({ flag, text }: GivenField) {
  const flags: Readonly<Record<string, Flag<unknown>>> = RUN_FLAGS;
  return flags[flag]?.read([text]) ?? { fault: `no flag --${flag}` };
}

function hintOf(flag: string): string {
  if (flag !== 'proxy-mode') return '';
  return '; write mode: userspace, or give --proxy-mode=userspace beside a file that other proxies read';
}

export interface Effective {
  readonly flags: RunFlagValues;
  /** Flags that were given and do not count. */
  readonly overridden: readonly string[];
  /** Where the value of a flag comes from: itself, or the place of a field. */
  readonly nameOf: (flag: FlagName) => string;
}

export function withConfigFile(flags: RunFlagValues, given: ReadonlySet<string>, file: ConfigFile): Effective {
  const covered = [...FLAGS_OF_FIELDS, ...DEPRECATED].filter((flag) => !(HONOURED.has(flag) && given.has(flag)));
  const table: Readonly<Record<string, Flag<unknown>>> = RUN_FLAGS;
  const fromFile = covered.map((flag) => {
    const value = file.values.get(flag);
    return [flag, value === undefined ? table[flag]?.fallback : value.value];
  });
  return {
    flags: { ...flags, ...Object.fromEntries(fromFile) },
    overridden: covered.filter((flag) => given.has(flag)),
    nameOf: (flag) =>
      (covered.includes(flag) ? file.values.get(flag)?.place : undefined) ?? nameOfDefault(flag, covered),
  };
}

/** A default that clashes with what the file says elsewhere has no place: its field is named. */
function nameOfDefault(flag: FlagName, covered: readonly string[]): string {
  return (covered.includes(flag) ? fieldOf(flag) : undefined) ?? `--${flag}`;
}
