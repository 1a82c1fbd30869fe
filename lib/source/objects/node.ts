/**
 * Owns reading a v1 Node: its zone for hints (rule E4), its addresses for node ports (rule E11), whether it stays (H2).
 *
 *   untrusted JSON -> fields -> Node | faults
 */
import { parseIp } from '../../config/address.js';
import type { Node } from '../../model/objects.js';
import { type Fault, failed, fault, type Parsed } from './fault.js';
import * as fields from './fields.js';
import { field, items } from './raw.js';

const ZONE = 'topology.kubernetes.io/zone';
/** The cluster autoscaler's word for a node on its way out (KEP-3836). */
const TO_BE_DELETED = 'ToBeDeletedByClusterAutoscaler';

const schema = fields.object({
  metadata: fields.object({
    name: fields.subdomain,
    labels: fields.object({ [ZONE]: fields.labelValue.nullish() }).nullish(),
    deletionTimestamp: fields.timestamp.nullish(),
  }),
  spec: fields
    .object({
      podCIDR: fields.cidr.nullish(),
      podCIDRs: fields.list(fields.cidr),
      taints: fields.list(fields.object({ key: fields.anyText })),
    })
    .nullish(),
});

export function parseNode(json: unknown): Parsed<Node> {
  const checked = fields.check(schema, json);
  const { ips, faults } = internalIps(json);
  if ('faults' in checked) return failed([...checked.faults, ...faults]);
  if (faults.length > 0) return failed(faults);
  const { metadata, spec } = checked.value;
  return {
    ok: Object.freeze({
      name: metadata.name,
      zone: metadata.labels?.[ZONE] || undefined,
      internalIPs: Object.freeze(ips),
      podCIDRs: Object.freeze(spec?.podCIDRs ?? (spec?.podCIDR ? [spec.podCIDR] : [])),
      eligible: !metadata.deletionTimestamp && !spec?.taints?.some(({ key }) => key === TO_BE_DELETED),
    }),
  };
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
