import { expect } from 'chai';
import { type Arity, readArgv } from '../../lib/cli/argv.js';
import { similar } from '../../lib/cli/similar.js';

const vocabulary = {
  flags: new Map<string, Arity>([
    ['proxy-mode', 'value'],
    ['oom-score-adj', 'value'],
    ['cleanup', 'boolean'],
    ['manifests', 'list'],
    ['v', 'value'],
    ['help', 'boolean'],
  ]),
  ignored: new Map<string, Arity>([
    ['masquerade-all', 'boolean'],
    ['ipvs-scheduler', 'value'],
  ]),
  letters: new Map([
    ['v', 'v'],
    ['h', 'help'],
  ]),
};

describe('the command line', () => {
  for (const [words, argv] of [
    [['--proxy-mode=userspace'], ['--proxy-mode=userspace']],
    [['--proxy-mode', 'userspace'], ['--proxy-mode=userspace']],
    [['--proxy_mode', 'userspace'], ['--proxy-mode=userspace']],
    [['--proxy-mode='], ['--proxy-mode=']],
    [['--proxy-mode=a=b_c'], ['--proxy-mode=a=b_c']],
    [['--oom-score-adj', '-999'], ['--oom-score-adj=-999']],
    [['--v=4'], ['--v=4']],
    [['--v', '4'], ['--v=4']],
    [['-v', '4'], ['--v=4']],
    [['-v=4'], ['--v=4']],
    [['-v4'], ['--v=4']],
    [['-h'], ['--help=true']],
    [['--cleanup'], ['--cleanup=true']],
    [['--cleanup=false'], ['--cleanup=false']],
    [
      ['--cleanup', '--v', '1'],
      ['--cleanup=true', '--v=1'],
    ],
    [
      ['--manifests', 'a.yaml', 'b.yaml', '--v', '1'],
      ['--manifests=a.yaml', '--manifests=b.yaml', '--v=1'],
    ],
    [
      ['--manifests=a.yaml', '--manifests=b.yaml'],
      ['--manifests=a.yaml', '--manifests=b.yaml'],
    ],
    [
      ['a', '--v=1', '-', '--', '--b'],
      ['--v=1', '--', 'a', '-', '--b'],
    ],
  ] as const) {
    it(`reads "${words.join(' ')}" as Go's flags would be read`, () => {
      const read = readArgv(words, vocabulary);
      expect(read.argv).to.deep.equal(argv);
      expect(read.faults).to.deep.equal([]);
    });
  }

  it("takes the flags of kube-proxy's other modes with their values, and does nothing with them", () => {
    const read = readArgv(
      ['--masquerade-all', '--ipvs-scheduler', 'rr', '--ipvs_scheduler=lc', '--masquerade-all=false', '--v=2'],
      vocabulary,
    );
    expect(read.argv).to.deep.equal(['--v=2']);
    expect(read.ignored).to.deep.equal(['masquerade-all', 'ipvs-scheduler']);
    expect(read.faults).to.deep.equal([]);
  });

  it('collects every fault, and says what may have been meant (C1)', () => {
    const read = readArgv(['--proxy-mod=x', '--nonsense', '-x', '-manifests', '--v'], vocabulary);
    expect(read.faults).to.deep.equal([
      '"--proxy-mod": no such flag; did you mean --proxy-mode?',
      '"--nonsense": no such flag',
      '"-x": no such flag',
      '"-manifests": no such flag; did you mean --manifests?',
      '--v: expected a value after it',
    ]);
  });

  for (const [words, argv] of [
    [['--manfests', 'x', 'y', '--v=1'], ['--v=1']],
    [
      ['--proxy-mod', 'userspace', 'x'],
      ['--', 'x'],
    ],
    [
      ['--cleanupp', 'x'],
      ['--', 'x'],
    ],
    [['--nonsense', 'x', '--v=1'], ['--v=1']],
    [['--proxy-mod', '--v=1'], ['--v=1']],
  ] as const) {
    it(`takes one mistake for one: "${words.join(' ')}" (C1)`, () => {
      const read = readArgv(words, vocabulary);
      expect(read.faults).to.have.length(1);
      expect(read.argv).to.deep.equal(argv);
    });
  }

  it('escapes what it repeats of a word', () => {
    expect(readArgv(['--\u001b[2J'], vocabulary).faults).to.deep.equal(['"--\\u001b[2J": no such flag']);
  });
});

describe('guessing a word', () => {
  it('takes the nearest, and none that is far', () => {
    expect(similar('metrics-bind-adress', ['healthz-bind-address', 'metrics-bind-address'])).to.equal(
      'metrics-bind-address',
    );
    expect(similar('demoo', ['demo', 'status'])).to.equal('demo');
    expect(similar('kubelet', ['demo', 'status'])).to.equal(undefined);
    expect(similar('x'.repeat(10_000), ['x'])).to.equal(undefined);
  });
});
