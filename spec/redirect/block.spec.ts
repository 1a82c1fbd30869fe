import { BlockList, isIPv6 } from 'node:net';
import { expect } from 'chai';
import fc from 'fast-check';
import { parseIp } from '../../lib/config/address.js';
import {
  type Block,
  blockText,
  contains,
  containsAddress,
  intersection,
  parseBlock,
  withoutContained,
} from '../../lib/redirect/block.js';

const block = (text: string): Block => parseBlock(text) ?? expect.fail(`${text} is no block`);

/** Out of few bits, so that blocks meet. */
const anyAddress = fc.oneof(
  fc.tuple(fc.constantFrom(0, 10, 255), fc.constantFrom(0, 1, 255)).map(([a, b]) => `${a}.${b}.${b}.${a}`),
  fc
    .tuple(fc.constantFrom('0', 'fd00', 'ffff'), fc.constantFrom('0', '1', 'ff00'))
    .map(([a, b]) => parseIp(`${a}:${b}:0:0:${b}::${a}`) ?? ''),
);
const anyBlock = fc
  .tuple(anyAddress, fc.nat({ max: 128 }))
  .map(([address, prefix]) => block(`${address}/${isIPv6(address) ? prefix : prefix % 33}`));

describe('parseBlock', () => {
  for (const [text, canonical] of [
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['192.0.2.255/31', '192.0.2.254/31'],
    ['255.255.255.255/32', '255.255.255.255/32'],
    ['203.0.113.9/0', '0.0.0.0/0'],
    ['FD00:0:0:1::5/64', 'fd00:0:0:1::/64'],
    ['fd00::1/128', 'fd00::1/128'],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['::1/0', '::/0'],
    ['::ffff:10.1.2.3/104', '::ffff:10.0.0.0/104'],
  ] as const) {
    it(`reads ${text} as ${canonical}`, () => {
      expect(blockText(block(text))).to.equal(canonical);
    });
  }

  for (const text of [
    '',
    '10.0.0.0',
    '/8',
    '10.0.0.0/',
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0/8',
    '010.0.0.0/8',
    'fe80::1%lo/64',
    ' 10.0.0.0/8',
    '10.0.0.0/8\n',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '0.0.0.0/0 -j ACCEPT',
  ]) {
    it(`takes ${JSON.stringify(text)} for none`, () => {
      expect(parseBlock(text)).to.equal(undefined);
    });
  }
});

describe('blocks', () => {
  it('hold the addresses that the platform says they hold', () => {
    fc.assert(
      fc.property(anyBlock, anyAddress, (one, address) => {
        const list = new BlockList();
        const [first = '', prefix] = blockText(one).split('/');
        list.addSubnet(first, Number(prefix), isIPv6(first) ? 'ipv6' : 'ipv4');
        const sameFamily = isIPv6(first) === isIPv6(address);
        expect(containsAddress(one, address)).to.equal(
          sameFamily && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4'),
        );
      }),
    );
  });

  it('have in common exactly the addresses that both hold', () => {
    fc.assert(
      fc.property(anyBlock, anyBlock, anyAddress, (a, b, address) => {
        const common = intersection(a, b);
        expect(common !== undefined && containsAddress(common, address)).to.equal(
          containsAddress(a, address) && containsAddress(b, address),
        );
      }),
    );
  });

  it('hold the same addresses without those that others hold, in one order', () => {
    fc.assert(
      fc.property(fc.array(anyBlock, { maxLength: 8 }), anyAddress, (blocks, address) => {
        const kept = withoutContained(blocks);
        expect(kept.some((one) => containsAddress(one, address))).to.equal(
          blocks.some((one) => containsAddress(one, address)),
        );
        for (const one of kept) expect(kept.filter((other) => contains(other, one))).to.deep.equal([one]);
        expect(withoutContained([...blocks].reverse()).map(blockText)).to.deep.equal(kept.map(blockText));
      }),
    );
  });
});
