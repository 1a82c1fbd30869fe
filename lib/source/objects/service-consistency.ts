/**
 * Owns what the fields of a Service must not say against each other. Asked of the unchecked object, so that these faults
 * come together with those of single fields; a field that is bad by itself is passed over here.
 */
import { familyOf, parseIp } from '../../config/address.js';
import { type Fault, fault, quote } from './fault.js';
import { field, items } from './raw.js';

export function acrossServiceFields(json: unknown): readonly Fault[] {
  const spec = field(json, 'spec');
  if (spec === undefined || typeOf(spec) === 'ExternalName') return [];
  return [...acrossClusterIps(spec), ...acrossPorts(spec)];
}

function acrossClusterIps(spec: unknown): Fault[] {
  const first = field(spec, 'clusterIP');
  const listed = items(field(spec, 'clusterIPs'));
  const all = clusterIps(spec);
  const path = ['spec', 'clusterIPs'];
  const faults: Fault[] = [];
  if (first !== undefined && first !== '' && listed.length > 0 && canonical(first) !== canonical(listed[0])) {
    faults.push(fault([...path, 0], `the clusterIP ${quote(String(first))}`, listed[0]));
  }
  if (all.includes('None') && all.length > 1) faults.push(fault(path, 'nothing beside "None"', all));
  if (all[0] === 'None' && (typeOf(spec) === 'NodePort' || typeOf(spec) === 'LoadBalancer')) {
    faults.push(fault(['spec', 'clusterIP'], `an address, because type is ${typeOf(spec)}`, 'None'));
  }
  if (all.length > 2)
    faults.push({ path, message: `expected at most one address a family, got ${all.length} addresses` });
  const [one, two] = all.map((ip) => (ip === 'None' ? undefined : canonical(ip)));
  if (one !== undefined && two !== undefined && familyOf(one) === familyOf(two)) {
    faults.push(fault([...path, 1], `an address of another family than ${one}`, all[1]));
  }
  return faults;
}

function acrossPorts(spec: unknown): Fault[] {
  const given = field(spec, 'ports');
  const ports = items(given);
  const faults: Fault[] = [];
  if (ports.length === 0 && clusterIps(spec)[0] !== 'None' && (given === undefined || Array.isArray(given))) {
    faults.push(fault(['spec', 'ports'], 'at least one port', given));
  }
  for (const [index, port] of ports.entries()) {
    const path = ['spec', 'ports', index];
    const name = field(port, 'name') ?? '';
    if (name === '' && ports.length > 1)
      faults.push(fault([...path, 'name'], 'a name, because there are several ports', name));
    const nodePort = field(port, 'nodePort') ?? 0;
    if (nodePort !== 0 && typeOf(spec) === 'ClusterIP') {
      faults.push(fault([...path, 'nodePort'], 'none, because type is ClusterIP', nodePort));
    }
  }
  return [...faults, ...repeated(ports, 'name'), ...repeated(ports, 'port'), ...repeated(ports, 'nodePort')];
}

/** The later of two ports that say the same; a port number counts with its protocol. */
function repeated(ports: readonly unknown[], name: 'name' | 'port' | 'nodePort'): Fault[] {
  const firstOf = new Map<string, number>();
  const faults: Fault[] = [];
  for (const [index, port] of ports.entries()) {
    const value = field(port, name) || undefined;
    const protocol = field(port, 'protocol') || 'TCP';
    if (typeof value !== (name === 'name' ? 'string' : 'number') || typeof protocol !== 'string') continue;
    const key = name === 'name' ? quote(String(value)) : `${value}/${word(protocol)}`;
    const first = firstOf.get(key);
    if (first === undefined) firstOf.set(key, index);
    else {
      const message = `expected one that no other port has, got ${key} as in spec.ports[${first}]`;
      faults.push({ path: ['spec', 'ports', index, name], message });
    }
  }
  return faults;
}

/** What counts: the list, or the single field where there is no list. */
function clusterIps(spec: unknown): readonly unknown[] {
  const all = items(field(spec, 'clusterIPs'));
  const first = field(spec, 'clusterIP') ?? '';
  return all.length > 0 || first === '' ? all : [first];
}

function typeOf(spec: unknown): unknown {
  return field(spec, 'type') || 'ClusterIP';
}

function canonical(ip: unknown): string | undefined {
  return typeof ip === 'string' ? (parseIp(ip) ?? (ip === 'None' ? ip : undefined)) : undefined;
}

function word(text: string): string {
  return /^\w+$/.test(text) ? text : quote(text);
}
