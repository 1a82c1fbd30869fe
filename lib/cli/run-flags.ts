/**
 * Owns the flags of `run`: names, meanings, units, defaults. kube-proxy's keep theirs. docs/flags.md says the same; a spec
 * compares the two.
 *
 *   RUN_FLAGS -> values -> run-options -> Options
 */
import { parseCidrs, parseNodePortAddresses } from '../config/cidr.js';
import { formatDuration, parseDuration, parsePositiveDuration } from '../config/duration.js';
import { DEFAULT_PROXY_PORT_RANGE, formatPortRange, parsePortRange } from '../config/host-port.js';
import type { RedirectMode } from '../config/options.js';
import { fault, type Parse } from '../config/parsed.js';
import {
  choiceParser,
  integerParser,
  numberParser,
  parseFeatureGates,
  parseIpAddress,
  textParser,
} from '../config/scalar.js';
import { booleanFlag, commaFlag, type Flag, optionalFlag, pathsFlag, valueFlag } from './flag.js';

export const REDIRECT_MODES = ['iptables', 'nftables', 'route', 'none'] as const satisfies readonly RedirectMode[];

const file = textParser('a file');
const name = textParser('a name');
const connections = integerParser(0, 10_000_000);

/** Checked with --bind-address at hand, which chooses the default. */
const address: Parse<string> = (text) => ({ value: text });

const proxyMode: Parse<'userspace'> = (text) =>
  text === '' || text === 'userspace'
    ? { value: 'userspace' }
    : fault(text, 'userspace: this program relays in userspace; for the modes of the kernel run kube-proxy');

/** Those not built yet are known by name: what was asked for is no typing mistake. */
const redirectMode: Parse<RedirectMode> = (text) =>
  text === 'nftables' || text === 'route'
    ? fault(text, 'iptables or none: this mode is not built yet')
    : choiceParser(['iptables', 'none'])(text);

function duration(group: string, help: string, fallbackMs: number, parse = parsePositiveDuration): Flag<number> {
  return valueFlag([group, '<duration>', help], parse, fallbackMs, formatDuration(fallbackMs));
}

function number(words: readonly [string, string, string], parse: Parse<number>, fallback: number): Flag<number> {
  return valueFlag(words, parse, fallback, `${fallback}`);
}

const SOURCES = {
  manifests: pathsFlag(
    ['Sources', '<path...>', 'files or directories of Service, EndpointSlice, Endpoints and Node objects; watched'],
    'none',
  ),
  kubeconfig: optionalFlag(['Sources', '<file>', 'how to reach the API server, as kubectl has it'], file),
  master: optionalFlag(
    ['Sources', '<url>', 'address of the API server, over that of --kubeconfig'],
    textParser('an address such as https://192.0.2.1:6443'),
  ),
  'kube-api-qps': number(
    ['Sources', '<number>', 'requests a second to the API server; below 0 for no bound'],
    numberParser(-1, 100_000),
    5,
  ),
  'kube-api-burst': number(['Sources', '<count>', 'requests at once to the API server'], integerParser(0, 100_000), 10),
  'config-sync-period': duration('Sources', 'manifests are read again at least this often', 900_000),
  'hostname-override': optionalFlag(
    ['Sources', '<name>', 'the name of the Node this runs on'],
    name,
    'NODE_NAME from the environment, or the host name',
  ),
  'service-proxy-name': optionalFlag(
    ['Sources', '<name>', 'serve the Services with this value of the label service.kubernetes.io/service-proxy-name'],
    name,
    'those without the label',
  ),
};

const LISTENING = {
  'bind-address': valueFlag(
    ['Listening', '<ip>', "the node's primary address, which redirects lead to; 0.0.0.0 and :: leave the choice"],
    parseIpAddress,
    '0.0.0.0',
    '0.0.0.0',
  ),
  'bind-address-hard-fail': booleanFlag(
    'Listening',
    'end when a status server cannot listen, instead of trying again and again',
  ),
  'nodeport-addresses': commaFlag(
    ['Listening', '<cidrs>', "addresses that node ports listen on: blocks, or primary (the Node's InternalIPs)"],
    parseNodePortAddresses,
    'every address',
  ),
};

const REDIRECTS = {
  redirect: valueFlag(
    [
      'Redirects',
      '<mode>',
      'how ClusterIPs lead here: iptables, or none (node ports only); nftables and route are not built yet',
    ],
    redirectMode,
    'iptables',
    'iptables',
  ),
  'proxy-port-range': valueFlag(
    ['Redirects', '<ports>', 'ports that redirects lead to: first-last, first+offset, or one port'],
    parsePortRange,
    DEFAULT_PROXY_PORT_RANGE,
    formatPortRange(DEFAULT_PROXY_PORT_RANGE),
  ),
  'cluster-cidr': commaFlag(
    ['Redirects', '<cidrs>', 'addresses of pods: to an external address with policy Local they count as inside'],
    parseCidrs,
    'none',
  ),
  'iptables-sync-period': duration('Redirects', 'rules that somebody else changed are repaired this often', 30_000),
  'iptables-min-sync-period': duration(
    'Redirects',
    'changes are applied at most this often, the first of a burst at once; 0 for no bound',
    1_000,
    parseDuration,
  ),
};

const RELAYING = {
  engine: valueFlag(
    ['Relaying', '<engine>', 'native (epoll and splice on Linux), portable (node:net), or auto: the best that works'],
    choiceParser(['auto', 'native', 'portable']),
    'auto',
    'auto',
  ),
  'relay-threads': number(
    ['Relaying', '<count>', 'threads that relay; every Service port belongs to one of them'],
    integerParser(1, 64),
    1,
  ),
  'io-uring': valueFlag(
    [
      'Relaying',
      '<use>',
      'auto: the native engine sends what it can in batches, where the kernel has io_uring; or off',
    ],
    choiceParser(['auto', 'off']),
    'auto',
    'auto',
  ),
  'dial-attempts': number(['Relaying', '<count>', 'different backends tried for one client'], integerParser(1, 100), 4),
};

const LIMITS_GROUP = 'Timeouts and limits';
const LIMITS = {
  'dial-timeout': duration(LIMITS_GROUP, 'one attempt to reach a backend', 1_000),
  'tcp-idle-timeout': duration(
    LIMITS_GROUP,
    'a connection without a byte ends after this; 0 for never',
    0,
    parseDuration,
  ),
  'half-close-timeout': duration(
    LIMITS_GROUP,
    'a half-closed connection whose other side is silent ends after this; 0 for never',
    3_600_000,
    parseDuration,
  ),
  'udp-timeout': duration(
    LIMITS_GROUP,
    'a UDP flow that had a reply ends after this; one without, after at most 10s',
    60_000,
  ),
  'drain-timeout': duration(
    LIMITS_GROUP,
    'connections get this to end by themselves when their port goes or the process ends',
    15_000,
    parseDuration,
  ),
  'max-connections': number([LIMITS_GROUP, '<count>', 'TCP connections at once; 0 for no bound'], connections, 0),
  'max-connections-per-listener': number(
    [LIMITS_GROUP, '<count>', 'TCP connections at once through one listener; 0 for no bound'],
    connections,
    0,
  ),
};

const STATUS = {
  'healthz-bind-address': optionalFlag(
    ['Status', '<ip:port>', 'where /healthz and /livez answer; empty or 0 for nowhere'],
    address,
    '0.0.0.0:10256',
  ),
  'metrics-bind-address': optionalFlag(
    ['Status', '<ip:port>', 'where /metrics, /status and /proxyMode answer; empty or 0 for nowhere'],
    address,
    '127.0.0.1:10249',
  ),
  'healthz-port': optionalFlag(
    ['Status', '<port>', 'port of --healthz-bind-address where that has none; 0 turns it off (deprecated)'],
    integerParser(0, 65_535),
  ),
  'metrics-port': optionalFlag(
    ['Status', '<port>', 'port of --metrics-bind-address where that has none; 0 turns it off (deprecated)'],
    integerParser(0, 65_535),
  ),
  'access-log': optionalFlag(
    ['Status', '<file>', 'one JSON line for every connection that ended; - for standard output'],
    file,
    'off',
  ),
};

export const LOGGING_FLAGS = {
  v: {
    ...number(['Logging', '<level>', 'how much is logged: from 4 on, debug lines too'], integerParser(0, 10), 0),
    letter: 'v',
  },
  'logging-format': valueFlag(['Logging', '<format>', 'text or json'], choiceParser(['text', 'json']), 'text', 'text'),
};

const COMPATIBILITY = {
  'proxy-mode': valueFlag(
    ['Compatibility', '<mode>', 'userspace: the only mode of this program'],
    proxyMode,
    'userspace',
    'userspace',
  ),
  config: optionalFlag(
    ['Compatibility', '<file>', 'a KubeProxyConfiguration, in place of the flags it has fields for; watched'],
    file,
  ),
  'write-config-to': optionalFlag(
    ['Compatibility', '<file>', 'write what is configured as a KubeProxyConfiguration, and end'],
    file,
  ),
  cleanup: booleanFlag('Compatibility', 'the same as the command cleanup'),
  'init-only': booleanFlag('Compatibility', 'do what needs full root rights, and end; nothing here does'),
  'oom-score-adj': number(
    ['Compatibility', '<score>', 'OOM score of this process, where it may set one'],
    integerParser(-1_000, 1_000),
    -999,
  ),
  'feature-gates': valueFlag(
    ['Compatibility', '<gates>', 'A=true,B=false; checked, and without effect'],
    parseFeatureGates,
    {},
    'none',
  ),
};

export const RUN_FLAGS = {
  ...SOURCES,
  ...LISTENING,
  ...REDIRECTS,
  ...RELAYING,
  ...LIMITS,
  ...STATUS,
  ...LOGGING_FLAGS,
  ...COMPATIBILITY,
};
