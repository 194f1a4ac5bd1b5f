"""Forms of keys that vendors publish, so that a key is known wherever it turns up."""

from __future__ import annotations

import re
from typing import Final

# Prefixes, and how much follows at least.
_FORMS: Final = r"""
    (?<![A-Za-z0-9])(?:
        (?:sk|pplx|xai|csk|pa|tvly|fc|key|ms|fw|ak|as)-(?=[\w-]*[\dA-Z])[\w-]{16,}
      | (?:sk|gsk|r8|fw|rk|pk|jina|lin_api|ntn|secret|esecret|figd|dop_v1|doo_v1|tgp_v1|wandb_v1
          |sgp|sgd|slk|nfp|sbp|sb_secret|pcsk|lsv2_pt|lsv2_sk|e2b|rpa|KGAT|glsa|glc|fo1|re|ops
          |sntr[yu]s|rubygems|pscale_(?:tkn|pw|oauth)|y0
        )_(?=\w*\d)\w{16,}
      | hf_[A-Za-z0-9]{20,} | hf_(?=\w*\d)\w{16,} | api_org_\w{16,}
      | nvapi-[\w-]{10,} | AIza[\w-]{20,} | ya29\.[\w-]{10,} | GOCSPX-[\w-]{10,}
      | AQ\.(?=[\w-]*\d)[\w-]{16,} | AQVN(?=[\w-]*\d)[\w-]{30,}
      | gh[opsur]_\w{10,} | github_pat_\w{10,}
      | gl(?:pat|dt|rt|rtr|cbt|ptt|ft|soat|imt|agent)-[\w-]{10,}
      | xox[a-z]-(?=[\w-]*\d)[\w-]{8,} | xapp-(?=[\w-]*\d)[\w-]{10,}
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,} | (?:LTAI|AKID|AKLT)(?=\w*\d)\w{12,}
      | npm_[A-Za-z0-9]{20,} | pypi-[\w-]{20,}
      | dckr_(?:pat|oat)_[\w-]{10,} | hv[sb]\.[\w-]{16,} | dapi[0-9a-f]{24,} | PMAK-[\w-]{20,}
      | SG\.[\w-]{10,}\.[\w-]{10,} | shp(?:at|ca|pa|ss)_\w{16,} | whsec_[\w+/=]{16,}
      | sq0[a-z]{3}-[\w-]{16,} | EAAA[\w-]{50,} | xkeysib-[\w-]{16,} | NRAK-\w{16,}
      | dp\.(?:pt|st|ct|sa|scim|audit)\.\w{16,} | pul-[0-9a-f]{40} | \w{14}\.atlasv1\.[\w-]{20,}
      | pat[A-Za-z0-9]{14}\.[0-9a-f]{32,} | sl\.(?=[\w-]*\d)[\w-]{60,} | (?:sk|pk)-lf-[0-9a-f-]{32,}
      | (?:AC|SK)[0-9a-f]{32} | [0-9a-f]{32}-us\d{1,2} | HRKU-[\w-]{20,} | AKCp\w{16,}
      | [0-9a-f]{32}\.[A-Za-z0-9]{16} | bce-v3/ALTAK-\w+/\w+ | ATBB\w{20,}
      | AT(?:ATT|CTT)3[\w=-]{16,} | (?:bot)?\d{8,10}:AA[\w-]{30,} | AGE-SECRET-KEY-\w{16,}
      | [MNO][\w-]{22,26}\.[\w-]{6}\.[\w-]{27,}
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?
    )
  | -----BEGIN[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY
  | hooks\.slack\.com/(?:services|workflows|triggers)/\w+/\w+/\w+
  | discord(?:app)?\.com/api(?:/v\d+)?/webhooks/\d+/[\w-]+ | \.webhook\.office\.com/webhookb2/\S+
  | hooks\.zapier\.com/hooks/catch/\d+/\w+ | maker\.ifttt\.com/\S+/key/[\w-]+
  | open\.(?:feishu\.cn|larksuite\.com)/open-apis/bot/v2/hook/[\w-]+
  | (?<![\w+.-])[A-Za-z][\w+.-]{0,30}://[^\s/?\#@:]*:[^\s/?\#@]+@ | https?://[^\s/?\#@]+@
  | \bmachine\s+\S+\s+login\s+\S+\s+password\s+\S+
  | \b(?:curl|wget|https?)\s[^\n]{0,400}?(?<!\S)
      (?:-u|--user|--proxy-user)(?:\s+|=)['"]?[^\s:'"]+:(?!\d+\b)[^\s'"]{4,}
"""
KEY: Final = re.compile(_FORMS, re.VERBOSE)
"""Pattern of what is a key wherever it stands."""
PART_OF_KEY: Final = re.compile(
    # Dots and stars: servers repeat keys with a part hidden.
    rf"{_FORMS} | (?<![A-Za-z0-9])(?:(?:sk|pplx|xai|nvapi)-[\w*.-]{{8,}}|(?:gsk|sk|r8)_\w{{16,}})"
    r" | Bearer\s+\S+",
    re.VERBOSE,
)
"""Pattern of a key, or of what is left of one that somebody shortened."""
