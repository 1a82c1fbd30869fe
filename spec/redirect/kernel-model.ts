/**
 * Owns a model of what iptables does, so that rules can be tried by the thousand: restore with --noflush, save, and what
 * becomes of the first packet of a connection. It knows the options that we use, and throws at any other.
 */
import { isIPv6 } from 'node:net';
import type { Ip } from '../../lib/config/address.js';
import type { Frontend } from '../../lib/redirect/redirector.js';

type Chains = Map<string, string[]>;
export type Verdict = `to ${string}` | 'refused' | 'dropped' | 'passed';

const BUILTIN: Readonly<Record<string, readonly string[]>> = {
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

export class KernelModel {
  #tables = new Map(Object.entries(BUILTIN).map(([table, chains]) => [table, emptyChains(chains)]));
  readonly #local: ReadonlySet<Ip>;

  /** Addresses of the node. */
  constructor(local: readonly Ip[] = []) {
    this.#local = new Set(local);
  }

  /** Throws, with all that was committed before in place, as iptables-restore does. */
  restore(text: string, onCommit: () => void = () => undefined): void {
    let open: { table: string; chains: Chains } | undefined;
    for (const line of text.split('\n')) {
      if (line.startsWith('*')) open = { table: line.slice(1), chains: structuredClone(this.chains(line.slice(1))) };
      else if (line === 'COMMIT' && open !== undefined) {
        this.#tables.set(open.table, open.chains);
        open = undefined;
        onCommit();
      } else if (line !== '') execute(open?.chains ?? fail(`outside of a table: ${line}`), line);
    }
    if (open !== undefined) fail('no COMMIT');
  }

  save(table: string): string {
    const chains = [...this.chains(table)];
    const builtin = (name: string) => BUILTIN[table]?.includes(name) === true;
    const declared = chains.map(([name]) => `:${name} ${builtin(name) ? 'ACCEPT' : '-'} [0:0]`);
    return ['# Generated', `*${table}`, ...declared, ...chains.flatMap(([, rules]) => rules), 'COMMIT', ''].join('\n');
  }

  chains(table: string): Chains {
    return this.#tables.get(table) ?? fail(`no table ${table}`);
  }

  /** A new connection to this frontend: from this address, of the node where it is one, else from elsewhere. */
  dial(to: Frontend, source: Ip = isIPv6(to.address) ? '2001:db8:e::9' : '198.51.100.9'): Verdict {
    const own = this.#local.has(source);
    const lo = (address: Ip) => (own && this.#local.has(address) ? 'lo' : undefined);
    const packet = { ...to, source, incoming: own ? undefined : 'eth0', translated: false };
    const nat = this.#walk('nat', own ? 'OUTPUT' : 'PREROUTING', { ...packet, outgoing: lo(to.address) });
    const place = nat?.target === 'DNAT' ? nat.argument : '';
    const [, address = to.address, port = to.port] = /^\[?(.+?)\]?:(\d+)$/.exec(place) ?? [];
    const onWay = { ...packet, address, port: Number(port), translated: place !== '' };
    const verdict = this.#filter(onWay, own, lo(address));
    if (verdict !== undefined) return verdict;
    return place === '' ? 'passed' : `to ${place}`;
  }

  #filter(packet: Packet, own: boolean, lo: string | undefined): Verdict | undefined {
    const sent = own ? this.#walk('filter', 'OUTPUT', { ...packet, outgoing: lo ?? 'eth0' }) : undefined;
    if (sent !== undefined) return verdictOf(sent.target);
    const arrives = this.#local.has(packet.address);
    if (own && !arrives) return undefined;
    const chain = arrives ? 'INPUT' : 'FORWARD';
    const received = this.#walk('filter', chain, { ...packet, incoming: lo ?? packet.incoming });
    return received === undefined ? undefined : verdictOf(received.target);
  }

  #walk(table: string, start: string, packet: Packet): { target: string; argument: string } | undefined {
    for (const rule of this.chains(table).get(start) ?? fail(`no chain ${start}`)) {
      const { matches, target, goto, argument } = read(rule, packet, this.#local);
      if (!matches) continue;
      if (target === 'RETURN') return undefined;
      if (!this.chains(table).has(target)) return { target, argument };
      const verdict = this.#walk(table, target, packet);
      if (verdict !== undefined || goto) return verdict;
    }
    return undefined;
  }
}

interface Packet extends Frontend {
  readonly source: Ip;
  readonly incoming?: string | undefined;
  readonly outgoing?: string | undefined;
  readonly translated: boolean;
}

function read(rule: string, packet: Packet, local: ReadonlySet<Ip>) {
  const words = wordsOf(rule);
  let matches = true;
  let target = '';
  let argument = '';
  let goto = false;
  for (let i = 0; i < words.length; i += 2) {
    const value = words[i + 1] ?? '';
    switch (words[i]) {
      case '-d':
        matches &&= inMask(packet.address, value);
        break;
      case '-p':
        matches &&= packet.protocol.toLowerCase() === value;
        break;
      case '--dport': {
        const [first, last = first] = value.split(':').map(Number);
        matches &&= packet.port >= (first ?? 0) && packet.port <= (last ?? 0);
        break;
      }
      case '-s':
        matches &&= inMask(packet.source, value);
        break;
      case '-i':
        matches &&= packet.incoming === value;
        break;
      case '--src-type':
      case '--dst-type':
        if (value !== 'LOCAL') fail(rule);
        matches &&= local.has(words[i] === '--src-type' ? packet.source : packet.address);
        break;
      case '!': {
        const operand = words[i + 2];
        if (value === '--ctstate' && operand === 'DNAT') matches &&= !packet.translated;
        else if (value === '-i') matches &&= packet.incoming !== operand;
        else if (value === '-o') matches &&= packet.outgoing !== operand;
        else fail(rule);
        i++;
        break;
      }
      case '--ctstate':
        if (value !== 'NEW') fail(rule);
        break;
      case '-m':
      case '--comment':
      case '--reject-with':
        break;
      case '--to-destination':
        argument = value;
        break;
      case '-j':
      case '-g':
        target = value;
        goto = words[i] === '-g';
        break;
      default:
        fail(`${words[i]} in ${rule}`);
    }
  }
  return { matches, target, goto, argument };
}

/** Properties read the same few rules a hundred thousand times. */
const known = new Map<string, readonly string[]>();

function wordsOf(rule: string): readonly string[] {
  const words = known.get(rule) ?? rule.split(' ').slice(2);
  known.set(rule, words);
  return words;
}

function verdictOf(target: string): Verdict {
  if (target === 'REJECT') return 'refused';
  return target === 'DROP' ? 'dropped' : fail(target);
}

function inMask(address: string, match: string): boolean {
  const [base = '', mask = ''] = match.split('/');
  if (isIPv6(address) !== isIPv6(base)) return false;
  const width = isIPv6(address) ? 128n : 32n;
  const bits = /^\d+$/.test(mask) ? ((1n << BigInt(mask)) - 1n) << (width - BigInt(mask)) : numberOf(mask);
  return (numberOf(address) & bits) === numberOf(base);
}

const numbers = new Map<string, bigint>();

function numberOf(ip: string): bigint {
  const number = numbers.get(ip) ?? readNumber(ip);
  numbers.set(ip, number);
  return number;
}

function readNumber(ip: string): bigint {
  if (!isIPv6(ip)) return ip.split('.').reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const [head = '', tail] = ip.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array<string>(missing).fill('0'), ...groups(tail ?? '')];
  return all.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n);
}

function execute(chains: Chains, line: string): void {
  const declared = /^:(\S+) - \[0:0\]$/.exec(line)?.[1];
  if (declared !== undefined) {
    chains.set(declared, []);
    return;
  }
  const [command = '', name = ''] = line.split(' ');
  const chain = chains.get(name) ?? fail(`no such chain: ${line}`);
  const rule = line.replace(/^-[AID] (\S+)( 1)? /, '-A $1 ');
  const to = / -[jg] (\S+)/.exec(line)?.[1] ?? '';
  if (/^(KPROXY|OTHER)/.test(to) && !chains.has(to)) fail(`no such target: ${line}`);
  if (command === '-A') chain.push(rule);
  else if (command === '-I') chain.unshift(rule);
  else if (command === '-D' && chain.includes(rule)) chain.splice(chain.indexOf(rule), 1);
  else if (command === '-X' && chain.length === 0 && !isReferenced(chains, name)) chains.delete(name);
  else fail(line);
}

function isReferenced(chains: Chains, name: string): boolean {
  return [...chains.values()].flat().some((rule) => new RegExp(` -[jg] ${name}( |$)`).test(rule));
}

function emptyChains(names: readonly string[]): Chains {
  return new Map(names.map((name) => [name, []]));
}

function fail(why: string): never {
  throw new Error(`iptables-restore: ${why}`);
}
