/**
 * Owns reading a v1 Node: its zone for hints (rule E4), its addresses for node ports (rule E11).
 *
 *   untrusted JSON -> fields -> Node | faults
 */
import { parseIp } from '../../config/address.js';
import type { Node } from '../../model/objects.js';
import { type Fault, failed, fault, type Parsed } from './fault.js';
import * as fields from './fields.js';
import { field, items } from './raw.js';

const ZONE = 'topology.kubernetes.io/zone';

const schema = fields.object({
  metadata: fields.object({
    name: fields.subdomain,
    labels: fields.object({ [ZONE]: fields.labelValue.nullish() }).nullish(),
  }),
});

export function parseNode(json: unknown): Parsed<Node> {
  const checked = fields.check(schema, json);
  const { ips, faults } = internalIps(json);
  if ('faults' in checked) return failed([...checked.faults, ...faults]);
  if (faults.length > 0) return failed(faults);
  const { name, labels } = checked.value.metadata;
  return { ok: Object.freeze({ name, zone: labels?.[ZONE] || undefined, internalIPs: Object.freeze(ips) }) };
}

/** Addresses of other types may be names, and are not used. */
function internalIps(json: unknown): { readonly ips: string[]; readonly faults: Fault[] } {
  const ips = new Set<string>();
  const faults: Fault[] = [];
  for (const [index, one] of items(field(json, 'status', 'addresses')).entries()) {
    if (field(one, 'type') !== 'InternalIP') continue;
    const given = field(one, 'address');
    const ip = typeof given === 'string' ? parseIp(given) : undefined;
    if (ip === undefined) faults.push(fault(['status', 'addresses', index, 'address'], 'an IP address', given));
    else ips.add(ip);
  }
  return { ips: [...ips], faults };
}
