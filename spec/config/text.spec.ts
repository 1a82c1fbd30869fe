import { expect } from 'chai';
import fc from 'fast-check';
import { cidrContains, parseCidr, parseNodePortAddresses } from '../../lib/config/cidr.js';
import { formatDuration, parseDuration, parsePositiveDuration } from '../../lib/config/duration.js';
import {
  DEFAULT_PROXY_PORT_RANGE,
  formatPortRange,
  hostPortParser,
  parsePortRange,
} from '../../lib/config/host-port.js';
import { isFault, type Parsed } from '../../lib/config/parsed.js';
import { choiceParser, integerParser, parseBoolean, parseFeatureGates } from '../../lib/config/scalar.js';

/** The value, or the fault as a thrown error, so that a table can hold either. */
function read<T>(parsed: Parsed<T>): T {
  if (isFault(parsed)) throw new Error(parsed.fault);
  return parsed.value;
}

describe('durations', () => {
  for (const [text, ms] of [
    ['0', 0],
    ['0s', 0],
    ['250ms', 250],
    ['1m30s', 90_000],
    ['1h', 3_600_000],
    ['1.5s', 1_500],
    ['.5s', 500],
    ['2h22m', 8_520_000],
    ['1500us', 1.5],
    ['15m0s', 900_000],
  ] as const) {
    it(`reads "${text}" as ${ms} ms, as Go does`, () => {
      expect(read(parseDuration(text))).to.equal(ms);
    });
  }

  for (const text of ['', '5', '5x', '-5s', '1m 30s', '1e3s', 's', '99999h', ' 5s']) {
    it(`refuses "${text}" with the value and what was expected (C1)`, () => {
      expect(() => read(parseDuration(text))).to.throw(`${JSON.stringify(text)}: expected a duration such as`);
    });
  }

  it('refuses a time that a timer would take for none where it must be more than 0', () => {
    expect(() => read(parsePositiveDuration('0'))).to.throw('more than 0');
    expect(() => read(parsePositiveDuration('999us'))).to.throw('more than 0');
    expect(read(parsePositiveDuration('1ms'))).to.equal(1);
  });

  it('writes what it reads', () => {
    const whole = fc.integer({ min: 0, max: 2 ** 31 - 1 });
    fc.assert(fc.property(whole, (ms) => read(parseDuration(formatDuration(ms))) === ms));
  });
});

describe('addresses of servers', () => {
  const parse = hostPortParser(10_249);
  for (const [text, value] of [
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['[::1]:8080', { host: '::1', port: 8080 }],
    ['0.0.0.0', { host: '0.0.0.0', port: 10_249 }],
    ['::', { host: '::', port: 10_249 }],
    ['127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['', undefined],
    ['0', undefined],
  ] as const) {
    it(`reads "${text}" as kube-proxy does`, () => {
      expect(read(parse(text))).to.deep.equal(value);
    });
  }

  for (const text of [
    'localhost:80',
    ':80',
    '127.0.0.1:',
    '127.0.0.1:65536',
    '[127.0.0.1]:80',
    '::1:99999',
    '1.2.3:80',
  ]) {
    it(`refuses "${text}" (C1)`, () => {
      expect(() => read(parse(text))).to.throw(`${JSON.stringify(text)}: expected address:port`);
    });
  }
});

describe('port ranges', () => {
  for (const [text, first, last] of [
    ['30000-30100', 30_000, 30_100],
    ['30000+100', 30_000, 30_100],
    ['30000', 30_000, 30_000],
    ['65000+9999', 65_000, 65_535],
    [' 1-2 ', 1, 2],
  ] as const) {
    it(`reads "${text}" in kube-proxy's syntax`, () => {
      expect(read(parsePortRange(text))).to.deep.equal({ first, last });
    });
  }

  for (const text of ['', '0', '0-0']) {
    it(`takes the default for "${text}", which leaves the choice to the proxy`, () => {
      expect(read(parsePortRange(text))).to.deep.equal(DEFAULT_PROXY_PORT_RANGE);
    });
  }

  for (const text of ['10-5', '1-65536', '0-5', 'a-b', '1-2-3', '1+-2']) {
    it(`refuses "${text}" (C1)`, () => {
      expect(() => read(parsePortRange(text))).to.throw(JSON.stringify(text));
    });
  }

  it('keeps the default out of the ephemeral and the node ports', () => {
    expect(DEFAULT_PROXY_PORT_RANGE.last).to.be.below(30_000);
    expect(formatPortRange(DEFAULT_PROXY_PORT_RANGE)).to.equal('20000-29999');
  });
});

describe('address blocks', () => {
  for (const [text, canonical] of [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['FD00:0::/064', 'fd00::/64'],
    ['192.0.2.7/32', '192.0.2.7/32'],
  ] as const) {
    it(`reads "${text}" as ${canonical}`, () => {
      expect(read(parseCidr(text))).to.equal(canonical);
    });
  }

  for (const text of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '010.0.0.0/8', '10.0.0.0/8; reboot', '/8', '']) {
    it(`refuses "${text}" (C1)`, () => {
      expect(() => read(parseCidr(text))).to.throw(JSON.stringify(text));
    });
  }

  it('knows what a block contains', () => {
    expect(cidrContains('10.1.0.0/16', '10.1.255.255')).to.equal(true);
    expect(cidrContains('10.1.0.0/16', '10.2.0.0')).to.equal(false);
    expect(cidrContains('fd00::/64', 'fd00::1')).to.equal(true);
    expect(cidrContains('fd00::/64', '10.1.0.1')).to.equal(false);
    expect(cidrContains('0.0.0.0/0', '192.0.2.1')).to.equal(true);
  });

  it('reads node port addresses as blocks or the single word primary (E11)', () => {
    expect(read(parseNodePortAddresses('10.0.0.0/8, fd00::/64'))).to.deep.equal(['10.0.0.0/8', 'fd00::/64']);
    expect(read(parseNodePortAddresses('primary'))).to.deep.equal(['primary']);
    expect(read(parseNodePortAddresses(''))).to.deep.equal([]);
    expect(() => read(parseNodePortAddresses('primary,10.0.0.0/8'))).to.throw('single word primary');
    expect(() => read(parseNodePortAddresses('eth0'))).to.throw('"eth0": expected a block of addresses');
  });
});

describe('small values', () => {
  it("reads booleans as Go's ParseBool", () => {
    for (const text of ['1', 't', 'true', 'TRUE', 'True']) expect(read(parseBoolean(text)), text).to.equal(true);
    for (const text of ['0', 'f', 'false', 'FALSE', 'False']) expect(read(parseBoolean(text)), text).to.equal(false);
    expect(() => read(parseBoolean('yes'))).to.throw('"yes": expected true or false');
  });

  it('reads feature gates', () => {
    expect(read(parseFeatureGates('A=true, B=false'))).to.deep.equal({ A: true, B: false });
    expect(read(parseFeatureGates(''))).to.deep.equal({});
    expect(() => read(parseFeatureGates('A=true,B'))).to.throw('"B": expected Gate=true or Gate=false');
  });

  it('keeps whole numbers in their bounds', () => {
    expect(read(integerParser(-1000, 1000)('-999'))).to.equal(-999);
    for (const text of ['1001', '1.5', '1e2', '', '0x10']) {
      expect(() => read(integerParser(-1000, 1000)(text)), text).to.throw('a whole number from -1000 to 1000');
    }
  });

  it('names the choices', () => {
    expect(() => read(choiceParser(['text', 'json'])('xml'))).to.throw('"xml": expected one of text, json');
  });

  it('escapes and shortens what it repeats of a bad value', () => {
    expect(() => read(parseBoolean(`x\n${'y'.repeat(500)}`))).to.throw(/^"x\\ny{98}\.\.\.": expected/);
  });
});
