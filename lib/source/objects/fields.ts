/**
 * Owns the fields that Kubernetes objects share, as zod schemas that refuse what the API server would refuse.
 *
 *   schema + untrusted JSON -> check -> typed value | faults
 *
 * As in the API, `null` is a field that is not there, '' of a word that has a default is the default, and unknown fields
 * are let pass: objects grow.
 */
import { z } from 'zod';
import { familyOf, type Ip, type IpFamily, parseIp, scopeOf } from '../../config/address.js';
import { type Cidr, parseCidr } from '../../config/cidr.js';
import { isFault } from '../../config/parsed.js';
import { describe, type Fault } from './fault.js';

/** One sentence for every way in which a schema fails. */
function says(expected: string): { error: (issue: { readonly input?: unknown }) => string } {
  return { error: (issue) => `expected ${expected}, got ${describe(issue.input)}` };
}

export function check<T extends z.ZodType>(
  schema: T,
  json: unknown,
): { readonly value: z.output<T> } | { readonly faults: Fault[] } {
  const result = schema.safeParse(json);
  if (result.success) return { value: result.data };
  const faults = result.error.issues.map(({ path, message }) => ({ path: path.map(part), message }));
  return { faults };
}

function part(key: PropertyKey): string | number {
  return typeof key === 'number' ? key : String(key);
}

export function object<T extends z.ZodRawShape>(shape: T) {
  return z.object(shape, says('an object'));
}

export function list<T extends z.ZodType>(of: T) {
  return z.array(of, says('a list')).nullish();
}

/** A list that must not be empty, of which only the first entry counts. */
export function firstOf<T extends z.ZodType>(of: T) {
  return z.array(z.unknown(), says('a list')).transform((all, context): z.output<T> => {
    const checked = check(of, all[0]);
    if ('value' in checked) return checked.value;
    for (const { path, message } of checked.faults) {
      if (all.length === 0) context.addIssue({ code: 'custom', message: 'expected at least one, got an empty list' });
      else context.addIssue({ code: 'custom', path: [0, ...path], message });
    }
    return z.NEVER;
  });
}

function text(pattern: RegExp, expected: string) {
  return z.string(says(expected)).regex(pattern, says(expected));
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_WORDS = 'lower-case letters, digits and inner dashes, at most 63 long';

/** RFC 1123 label: Services and namespaces. */
export const label = text(LABEL, `a name of ${LABEL_WORDS}`);

/** RFC 1123 subdomain: EndpointSlices, Endpoints and Nodes. */
export const subdomain = text(
  /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/,
  'a name of lower-case letters, digits, dots and inner dashes, at most 253 long',
);

export const labelValue = text(
  /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/,
  'a label value of letters, digits and inner dashes, underscores and dots, at most 63 long',
);

/** Missing and '' are `default`. */
export const namespace = orDefault(label, 'default');

/** Missing and '' are the unnamed port. */
export const portName = orDefault(text(new RegExp(`^$|${LABEL.source}`), `a port name of ${LABEL_WORDS}`), '');

export const port = whole(1, 65_535, 'a port from 1 to 65535');

export const anyText = z.string(says('a text'));

export const flag = z.boolean(says('true or false')).nullish();

/** metav1.Time: RFC 3339, as UTC. */
export const timestamp = z.string(says('an RFC 3339 time')).transform((time, context) => {
  const parsed = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[-+]\d\d:\d\d)$/.test(time)
    ? Date.parse(time)
    : NaN;
  if (!Number.isNaN(parsed)) return time.endsWith('Z') ? time : new Date(parsed).toISOString();
  context.addIssue({ code: 'custom', message: `expected an RFC 3339 time, got ${describe(time)}` });
  return z.NEVER;
});

/** A block of addresses in CIDR notation; space around it is forgiven, as kube-proxy does (rule E8). */
export const cidr = z.unknown().transform((input, context): Cidr => {
  const parsed = parseCidr(typeof input === 'string' ? input.trim() : '');
  if (!isFault(parsed)) return parsed.value;
  context.addIssue({
    code: 'custom',
    message: `expected a block of addresses such as 10.0.0.0/8, got ${describe(input)}`,
  });
  return '';
});

export function whole(least: number, most: number, expected: string) {
  const bounds = says(expected);
  return z.int(bounds).min(least, bounds).max(most, bounds);
}

export function word<const T extends string>(words: readonly T[]) {
  return z.enum(words, says(words.length === 1 ? `${words[0]}` : `one of ${words.join(', ')}`));
}

export function choice<const T extends string>(words: readonly T[], fallback: NoInfer<T>) {
  return orDefault(word(words), fallback);
}

export const protocol = choice(['TCP', 'UDP', 'SCTP'], 'TCP');

function orDefault<T extends z.ZodType>(schema: T, fallback: string) {
  return z.preprocess((value) => (value === undefined || value === null || value === '' ? fallback : value), schema);
}

export interface AddressRule {
  /** undefined: either. */
  readonly family?: IpFamily | undefined;
  readonly allowLoopback?: boolean;
  /** Unspecified, multicast and the like too: the caller sorts them out. */
  readonly allowSpecial?: boolean;
}

/** An address in canonical text, or one of `words`. */
export function address(rule: AddressRule = {}, words: readonly string[] = []) {
  return z.unknown().transform((input, context): Ip => {
    if (typeof input === 'string' && words.includes(input)) return input;
    const ip = typeof input === 'string' ? parseIp(input) : undefined;
    const message = addressFault(ip, input, rule);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
    return ip ?? '';
  });
}

/**
 * As the API server's ValidateNonSpecialIP: what stands for no one host is refused. So is an IPv4-mapped address, which would
 * be IPv4 under the name of IPv6.
 */
function addressFault(ip: Ip | undefined, input: unknown, rule: AddressRule): string | undefined {
  const { family, allowLoopback, allowSpecial } = rule;
  const expected = `expected an ${family ?? 'IP'} address`;
  const fits = ip !== undefined && !ip.startsWith('::ffff:') && (family === undefined || familyOf(ip) === family);
  if (!fits) return `${expected}, got ${describe(input)}`;
  const scope = scopeOf(ip);
  if (scope === 'unicast' || allowSpecial || (scope === 'loopback' && allowLoopback)) return undefined;
  return `${expected} that stands for one host, got ${describe(input)} (${scope})`;
}
