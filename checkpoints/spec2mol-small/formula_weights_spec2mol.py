"""Fitted constants of formulas_spec2mol.py, written by `python -m spec2mol.training.formula_ranking`."""

from base64 import b85decode

import numpy as np


def _read(text, *shape):
    return np.frombuffer(b85decode("".join(text.split())), "<f4").reshape(shape)


# Molecules with each combination of elements beside C, H, N and O
COMBINATIONS = """
:247246 S:70669 Cl:32814 F:25249 F3:17073 S2:15093 SCl:12992 Cl2:12815 SF:9580 F2:9420 Br:8412 SF3:6066 FCl:5376
SCl2:4168 P:4150 F4:3199 SF2:3024 F3Cl:2951 SBr:2928 S2Cl:2786 F6:2364 S3:2059 SFCl:1934 Cl3:1843 F2Cl:1527 SF4:1390
FCl2:1377 S2F:1312 I:1276 Br2:1023 ClBr:982 SF3Cl:937 S2F3:919 F5:879 FBr:846 F3Cl2:769 P2:721 S2Cl2:714 SF6:623
S2Br:609 SCl3:598 PS:586 Cl4:541 S4:503 F4Cl:496 F7:477 S2F2:418 F2Cl2:411 Si:398 B:392 SF2Cl:390 SFCl2:376 SI:367
S2FCl:352 F3Br:324 Cl2Br:320 SF5:311 SClBr:295 P3S:295 F2Br:267 S3Cl:265 SFBr:253 S2F4:243 F6Cl:237 Se:235 SF3Cl2:221
SBr2:210 P3:191 F6Cl2:190 F9:184 Br4:172 PF:169 SF3Br:162 FI:153 SF4Cl:152 ClI:149 S2F3Cl:148 S3F:140 S3F3:139
S2F2Cl:133 FCl3:130 PCl:130 SF2Cl2:128 F5Cl:120 SCl4:118 F4Cl2:118 FClBr:114 Br3:110 I2:104 S2F5:101 F3Cl3:101 PS2:97
P2S:96 S2F6:96 SF7:94 Cl5:83 PF2:80 F3I:80 SCl2Br:79 PCl2:79 S2FCl2:78 F8:78 S3Cl2:77 Cl6:77 SB:76 ClBr2:76 S2Br2:74
Si2:72 PF3:71 S2Cl3:70 S3Br:66 S3F3Cl:64 S5:64 F2Cl3:60 S3F4:60 S2I:56 F5Cl2:56 F10:54 F2I:54 PBr:54 S6:52 PSCl:51
SF9:51 F4Br:50 S2ClBr:50 Cl2I:48 SClI:48 S2F4Cl:48 SF6Cl:48 SF2Br:47 F7Cl:47 F3ClBr:47 SF3Cl3:46 P4:45 Cl3Br:44
S2Cl4:43 SFClBr:42 SF5Cl:39 I3:37 FB:36 Cl2Br2:36 SF2B:35 BrI:34 ClB:34 SF4Cl2:32 SSi:32 S2FBr:32 S4Cl2:32 PSF:32
SFCl3:30 F3Br2:29 F2B:29 S3F4Cl:28 S3F2:27 SFB:27 F12:27 Se2:27 SFI:26 PSF2:25 PS3:25 PF6:25 FBr2:24 P2Cl:24 ClSi:24
SClBr2:23 S2F3Cl2:23 F3B:23 F6Br:22 SBr4:22 SF17:22 S2F3Br:21 S3F5:21 S3FCl:21 SF8:21 F7Cl2:21 SF6Cl2:20 S8:20 Br5:19
PBr2:18 P2S2:18 FCl4:17 PCl3:17 PSF3:17 SF4Br:17 P2F4:17 FSi:17 SI2:17 FCl2Br:16 P3S2:16 S2Si:16 F9Cl:16 FClI:16
SF2I:16 S2F17:16 PFCl:16 PSBr:16 SF3I:15 I4:15 S2F2Cl2:15 SSi2:15 SF3ClBr:15 S4Cl:15 S2F5Cl:14 Br6:14 S2Cl2Br:14
SBr3:14 F2ClBr:14 Si3:14 SCl5:13 Cl4Br:13 SCl6:13 PF2Br:13 P3F:13 P2Br:13 PI:12 S2F9:12 P2F:12 B2:12 PSCl2:12 SCl3Br:12
F5Br:11 F13:11 S2B:11 F2ClB:11 S2F7:11 F8Cl:11 SFCl4:11 F3ClB:11 ClSe:11 Cl7:11 SSe:10 P2Cl2:10 F3Cl2Br:10 S3F17:10
F2Cl2Br:10 PSi:10 F3Se:10 S2I2:10 SF6Br:10 FClB:9 Cl8:9 Cl3I:9 Si4:9 PSFCl:9 SF10:9 SF4ClBr:9 S3Br2:9 SF2Cl3:9 S3Cl3:9
PF4:9 SFBr2:9 S3F9:8 F4Cl3:8 S5F3:8 F8Cl4:8 P2I:8 S3Cl4:8 S3F6:8 Cl3Br2:8 P3Cl:8 SF13:8 P3F2B:8 S4Cl4:7 SF12:7 BrSi:7
S3F2Br:7 S2F2Br:7 F11:7 ClBr4:7 S3ClBr:7 SF6Cl3:7 P3SF:7 P2F2:7 SBrI:7 SF3Br2:7 BrB:7 F9Cl2:7 SF5Cl2:6 SFCl2Br:6 P2Se:6
S4F3Cl:6 S2Se:6 Cl2B:6 P2SCl:6 F3Si:6 S2BrSi:6 SF3Cl2Br:6 F6Cl3:6 PF5:6 PS2F2:6 S3I:6 S3FBr:6 PFBr:6 ClBr3:6 S7:6
SF3B:6 S4F3:6 F4ClBr:6 F17:6 F2Cl4:5 SF7Cl:5 F6I:5 S2FCl4:5 S2FCl3:5 SFSi:5 BrSe:5 F2Br2:5 SCl2I:5 P6:5 F5Cl3:5 Cl10:5
P5:5 S3F2Cl:5 F3Cl4:5 F3ClI:5 S4F:5 F8Cl2:5 Cl3Si:5 PClBr:5 SF2ClBr:5 S4F2:5 F15:5 FI2:4 BrI2:4 F2Si:4 SCl2B:4
PS2F2Br:4 PS2Cl:4 PF13:4 S3F7:4 ISi:4 S12:4 P3I:4 P4S:4 PF2Cl2:4 P4F:4 SF5Br:4 PCl4:4 S2F8:4 SCl4Br:4 PF12:4 PSCl4:4
P2SF2:4 SF4Se:4 S2ClBr2:4 SF3Se:4 PF3Cl2:4 Cl2I2:4 F19:4 S2F3Cl3:4 PSF6:4 PSCl3:4 P8:3 F14:3 Br2I2:3 S2F6Cl:3 SClSi:3
SF5Cl3:3 S6Cl4:3 SClB:3 PSe:3 SF2Br2:3 SF4Cl3:3 P2SF4:3 PF2Cl:3 P7:3 PF3Br:3 S6Cl2:3 P3SCl2:3 S3F5Cl:3 S3Cl2Br:3 PS4:3
PSCl2Br:3 PI2:3 SF6Br2:3 Br8:3 F6ClBr:3 Cl2Se:3 S2F5Br:3 F10Cl2:3 PF17:3 S2FB:3 S2Cl3Br:3 SF3Si:3 SCl2Br2:3 P2SBr:3
S2FI:3 P2F3:3 S3Si:3 PS2F3:3 S3B:3 SF4B:3 P3SCl:3 Br2I:3 SF15:3 S4F5:3 P3Cl2:3 SFClI:3 S3F3Br:3 FClSi:2 ISi3:2 F23:2
Cl2Se2:2 P3B:2 Br2B2:2 P3SF2:2 SF16Cl:2 PF7:2 S2Cl6:2 S4F17:2 S3F2Cl2:2 S2F4Cl2:2 S2F10:2 SFClB:2 SF4Cl2Br:2 F6Br2:2
S2FClBr:2 S2ClB:2 F27:2 Cl4Br4:2 SF3Br3:2 F10Cl:2 F4I:2 S2BrB:2 SISi2:2 S4F9:2 P3Br:2 S2F4Br:2 F7Cl3:2 PS3F3Cl:2 ClI2:2
S2F17Cl:2 S4Cl6:2 PCl2Br:2 PI3:2 F5B:2 S2F6Cl2:2 SF3Cl5:2 SF21:2 SBr5:2 P3SB:2 SF8Cl:2 F24:2 PF9:2 PS2Cl2:2 P2S2Cl2:2
S4B:2 P2SF:2 PSF2Cl:2 SF7Cl3:2 SF9Cl:2 SiSe:2 F3ClBr2:2 P2F6:2 PF15:2 P2S3:2 F2Br4:2 S4Br2:2 Cl2Si:2 S10:2 S2FBr2:2
S2ClI:2 Cl9:2 S2Br4:2 FSe:2 F18:2 SB2:2 PCl6:2 Cl12:2 Cl2Br3:2 SClSe:2 S3FCl3:2 P3F2:2 Si5:2 P2SF3:2 SFSe:2 S2F18:2
SI4:2 P2Br2:2 F7Br:2 FSi2:2 S3FCl2:2 P2S4:2 SF2Cl4:2 Cl4I4:2 Si2Se:2 FClBr2:2
"""

# Of what mass and composition say: `prior_features`
PRIOR_WEIGHTS = _read(
    """
({dO;J}(JC@_zEa$@y47CEW$UIg@L@s}wsyNhZv}L~FmnX0%ViS-cU#vf!vc#0(C=hU?xy5W1wn#6KND1E0^pZ5O-0ZtDQRIAhR0v@8%m
""",
    21,
)

# A network of one hidden layer, of `ranking_features`
HIDDEN_WEIGHTS = _read(
    """
O#KYI&AWI#*98bYTZ{(1&x6T3KdM8!(zAv=t$i%MlvfnIm~hNI8}rdUnlULo-`i%rlR&1toAAdxY}5@t(9OoY9v@3R#_RSyQRoJ|^OZ-vr#MbJ5H3-@
$YljS7-}cIT4SocMz5c}XQT(arL}xLy|a`(lnCKGDH0vJPKOvhO`1Et<rIoOas!k;9^Jk@Oq$5Mxu};to5_p3uD)MACmWEyBkoQ<pRFrDy+0g2K5Wsx
@`E-!^dG{$AhKh=F~KN5PrfNXrBV1j?jssKSX~&tTc^7|Ef%LeITWqE<JeU`8Nva+zDxx@H_ItMQJ*D0J*tO2+vXBIK0Z3U8J>>50x~T<T?GR^Hf}OL
p%K?S*v;fVn<5ZD$m;<=+PWb>XgBdb7tX3aXFhtqLWniLlkIH2hc5rT=lVy!8P=%2iUCr-inK*O_a_~{bY5ya+&7K9W{fbtwK5kzA4S7Hcg$S9Fvp#|
S0;eIRi&T4#YXHsBIO}I#M?YP)dq4s^E$1)55}uK+!6r3xO@7%)I`-j8A0hj=?VY7$oF<W9><!#HX(+-#dNd1N=k}8^>-sZ9NGImYkWyQY*9JAVAPYn
+RzxiB$!}5bxlsaz9JGmd1I<Q-o%<d>?Ul!YLvXbC2-ojsk6DhTVpl8;T;@4JIZoAXg+s6m7i3;mtZZvp;sn9*acI*%q{gi`%Wo7-WiiWyUe{luG)3K
epWv}*g%E8P4omm`Q|Ra{hSEDE#$nu1<gsn;a1+hS7T8=&k-L!3AEq6eXk!r&P9$sDh?LEON!$@#^wb-lS9)!Vx9FodbqW|?NY?P%2M9Gow~)nrrLSD
Ax`_g<~{tq*WWTeX$vX6wrW>AWEX)xBlh{d<{b_`gz}@jT&tBm_N;Y1{UH0jPInZ(RVO08kD_}$7@%Li#jB0J$2~>9s9vZ&UB2kO`mJQWJ8w$8$}8->
bPEtZc?irsi7O?&+-4@bXM&Wz>U@yCII=c91{0_|ZQTdH<d&yCyEi+(299b!I9QlJt8AG)en+Z5-+3NBIkiVWL4W%_g5?fB?@7_WWM1k%83EotX$%X$
_h=Wt!D>Fg5l+rNG&ejysd}D2K0m6zw{kW<CS*!K!v>c>gWCc<zR$S6G8D%?#uE!Z0@k>{^$MiE#UKv9OQ#<{9CydPdviiRH=zo^DXh~!=?xb^MH!Mi
UKR7cibI7!lZ0r%{=J_+NztUgH_VQ}5_~B??nfd(ONsKo8>nEwhn2OyI6LY-o+lSRCN}p!tnh`uVFyk<ROTN*176F$*NCq_uu37oOyy_4C_)Rq&fpBd
FUsV;uIuN&Rv|S%AaUirZR&+TK639qG!Uvk5FA0iN&pzXe6?vmR!eC>atHvxU3>#TiG#Ag>sL6x9;CZI($xJv_Q@B$H&pCDYh0wiioiX;;ma<+8FVZ^
f_6JUvm}PS)yNA!&mv1aFGxv16!ld<6%@3;wUiRRnR$c1$(+=_!qFZ-#mg2x_-pPy>Wrm8@R2J(T_=A)G^YGNRl6KN%evS=m9!^8JjSWOI+Ec)AjnU^
(OXSE88EuQqd6x)e9S{Y?d?oJ$|T0X%Cy=(U@*zRskt{m-<b+QyF&*+qEXjCdqQTw`T_<&dA;L6c}Xk4&mQx>EytI@9$n<W3ecfIe=QV0L2atPg2Mqp
=d=qzi~hksi!5(J2m8vt*3@!AQDeZsZG|U6h6w{gB&g{?uW=YbQA-&?UD!83w<{Sz*B81$!JeeS2g!{<>nR?;b#O94s;ApP0ZF64#+y_@5_I)J)nVAb
D<3*RtD>pEny#F`Fkz6uv8Ja#h!FNb7QPZeP_8q*dS@9u%BLMZBvoO){J)sK7#ABm)}k^#H`9r~Zj>cId8BGSK~{CW>klYDg(P7=kCLQ5*IgvN8Vu&W
R<VY^S7nesx44`=T2fv-QM0PPcgm?f6Dym)QTztK)Sr(&D*IVJc+~g3qz|M#*(A(9hqH1%!K9NuB7v^F--p(`r}PNCW*@%2w}CA^D>4r~)+3j^E>G<}
&vG_Cns*630AeCP)l?b3eZd^P`6%l?@1l)9h=Cuzc)M*p2Cfype=D>+uoH{EuH+s*>0pyS%f%ACffPHw=4dFtRyEMQ;2j^nw9g$r;UxgQY%#&TL5%Xe
(u`(3u9&&J{~RB_gUa~6aUMcH(LWBq`zi6hjJjvNwDbzUdx6+LZ+4NteZU96>38ct)y!$WA-C|qL>4f>FeWp;{t0!zHRcjP&_;zmMCc$tLBo>2WCV#n
jJ-y_lBtqEZFUAgom$1e0}D#N)5eHD7<d;v#fHAV*roP97F`^_7*zhgqU>+JReyv((C>CXn4J2)Twa1c2a6Xz*%#=)$`r&v9SGOJKMI#T4R|HLLw=S&
bql?~RmiYEvcLU4X+sRZJ6nW6iQ%=sPx>Lh4Y!cLR(T=7^2F#q2NZ)q5Iw}dz{;Y)>Q4r~5>v)JC<25%JIPZ&<b<`qz8S1N6&DD<GKOeA02S^&EM~Po
W}NRnRx*vhW3_?4WU5X-klk=SQ!@_00;mAMRV7=%@ZdZ^(``0D#@wdAomsHInW-8+v(lEoL{fvkGiAcRaAQ?Jv%=26{h$y(3A}#5smpo5kiNV?s~dYi
bS)#m-$GJ8D=V2jfA3vBRucz6==Bi4a66(sS7nbsnoUYR4<U0uS5cKcd7l0~<;BWA<?}+n@Jo$91|u0glVT4*FDRluGHBmEAz?nh>tj;CnJbUK0$CHl
HhIK7wOqtM4SPmEo~Et8j--M<P@YG>1THQ=aOj0U<K$yMy&sc40;O`hZKdSC&QwW0gFy$s9i*y0OXjCNf#rg~N61k>+JJVy;{k@hanN7A!C?iz7QL>&
<aHCj9ua=O($c*@3N5cc5kSzs`Qzrlj2H>MN%ecbe|+q`Q@&|Fn1BsGlf#0)Pqr#Q)u*1m^tjl+8SJq>u!||bk^g_bWRzyS$rh8mZT><(J!E=60XQ_h
jder6yju!94sS%imnjv#X?j||j5OCh3bT{F4Aq>!nSNrwE2gJCViy^|mTYLgtF8FH)Nq|Y2<gK<MXW<V|7h;MfGcjkSghAQ6sf{KD2brF(BFAK%rx=6
FIiW<Xl}PYnklNjmUX2*R~<;dq@TXK3_y=Q)lg!+gMZGxNtt%O_5=aFbp{JR==#Gwrmp0@+~)_r*s_>A<bX@OF2^rEFq6i<3;VXd3xhYl6>pHdkdr??
W;{B-$1RV(+!$FrY~+eP(H{Cfes%A@QAQ%ZNN7$y3Ss@cAg(;V<RQDhFk`g7I4#mX=H|RTs*S5X#X_S!f|d@w?OTSu#LH&BJkh{AQ8psJM}Zu^Ab;b%
R!PRbEoFl|<~IX9X~yrqAz;6~xh~5-*+Hkh(7_hJME`KU^zL21bMlnEv0^m7`syq`+<~yY&_kxaq8qoqg}al!5+8xSc|54SY)T71b^7VOdkr2v?1(r&
Uj|7%l0sZO&2YRvbyMU%m}7yyGZnnL=w28)&0WB|U8R@1*p5fMsCU;n*7QL<(86Fm-g&UQATGu`1G|a3oGrAv0;SlzD0+`PyTpJyDgcx_rl)c|1ymwD
cDYo%$JN%m@OvUXYibU>yv5YIc{8ItcN>koR*<2*D=wnDLtEgwdyfFTjh%eD3?wK#6;SxQ3Cs(+NzUy%f49@S$E=P!5i85Paj9;)2CGawUWBr|rw!CQ
1pm%E#Ib@pxj6*9M<n+<uP>-PDhet)X>^D@icPS*2Ajq^G^MS(L0{NAt<*g{@*<SFRYhdHwHR7FlqI`6v+i@eG_~HlB#xT805s~mvTFf5>(-Au?1d1!
-QeB3r^OPzGjNPK4n76FNaJQbf#2=A;TQ%!Fz@O;lTNce(Xg;R%GsMaiCLjNJ4J}QqyCD$MZ*?7)0q}M$f&?PMP|IbV=<z=*Q&BSoJ66$%<3MzT^cGp
i(rqu`oAu{=Y`un@?&_r#OBSr%RrdDp-Y&(by|u&fls15lco$jb~SiC6lTagTlZQ$;+ZbJFXUvqvB*(9+^bPO2hVA~2qiZ?xVhQAw(9}B<tbA<_*$Yo
$Mm$i0;{P#sK%*00gq2TwFG!Qu-=V4bSFW+p`?$z=io9uhP7Kga5UFF_vXAi*T4wAP^AmJe)<4BX{3}qOV%+xoI!-Vb}p<ugSxXnPpoV{Ae2hKvDzHJ
sC0?E{d0>x;%5{<TxrQaY!Vm1rB$%LFBE?~Nx<4Z$CNQY@36K%HbWS`f7WL|B@Pom;C+`qk&sKjUrVRIz*-nSgA${^nX#`v_acJ7yp#+-Y=V(Ld<P>v
V?*G+6C;|w?N7EnjCHKO?D4NU55ZPH8Lk69YT@QSF9Jh8tTV1WgPK1+>kDze6O<OetZ7)kzZD3-*q%u~8v|dyK+cxFJ+z#@wQgO$1=zv8f@zXINHwRu
RFRNAz32Bnt#91DSOu*<%&q>uxyk&zqEP)l33Plu&u=O`gftF5^WV6=Qh<a$e}fA?AhKaQ<x%jyDFlGNU#u{`9!Vp;$lqYRc6JoK_}u}%fu~iyYRhgu
CM}gdL2v~=?mDPFkiAqsZ}>?*n~O?5B6wgu*TRIpucP9<0@l*K&3RlrWJndg^rv?{26WLq7J`sF&vF+&Ik7RmGT1IXf5H+z&R;sd;o2-d|9d~ZScWn@
kjpMUOI>X~FUn^=&r=~jRA9zDVJ3RM0p%9Ia|7bO)4K3IRN~1!8i;m2htH|KVnT+z_Ch>9Q2iRdaYl>1sVXPFw|&dKr0_yMj@N6sW*DtL;WW@bBATu}
0*HdWLu&xO*=9<<4pL=3*QOsnQJ4lkvDKu#fAQKqT=_{o;$%s`NK3pv5$;Vsa%Q8w%F%$kBNs0|i0Hq**#!nau|(*;%^~AGCYKFAxd)WK-(5JrZ1HTq
-P8%bRr=Dt^x{iC2x_3d_;n^e#B<=j>Q_cRd^ktF5-c^pn2dxz>;}_4u>|+Mt#+xr?ec8CQn?Yl8iEMEezpZY%s-wzEnRg#FyanBuK#kpDN|}b5Wg%u
63$b<%`T_DzCJ}hVC(C?=|m5|Q#pjc@M!2hAP#iDhRKS*Kq-ztH>Ep1XEL0>4#y0?0s#{~Om#*-yc8|JgjO>?$lq>1Ix8kVj&ZX;uR0As*24n6JNXhn
ZvFp0J>H<dN#Sok3k~x+`d_KN!Kh=sF8mlh;=yM;J&7Pa@Xn$=Z*;*v{%MN6HD%>JYMT$fK?ZKUYm2r$czHZNStJj<T6>PX2`;z0sNa@6eniK<BTH<&
+dr8;KmMe<6w3}i!{ueZd5%@S5jjpih*S|i^|cf|>@g$0G8X~9xI!tsO4xxsl&uFnAU|uq9O&V_Q)L@HIX6!{C0~_1E_YPC>8XZ3Hob?wEUJk<5Pm&A
0Y6o~^NkF?<Z<9W5qj^v{2<{yp5s8iIzi37C@l}ZFEF@0Rp&K32|fuu^VTaqy9PPFU|JEqj&A-vKCtS$%JwuppfsJmf=mOxt4|NTEAWmzeWC%r3!{O)
c22OqEgQ={9W*&Ui0)235bKG$2<!<zcmz8>0x1W*{Gp7#-!=}v@6b5Co+Dg7X|DOc5ra9sz{;vVGgQF7NI3hx-*HDidr`eU<Ukj`YvWWtGjSZh=Y1)@
Urp&fK4uv{aqfdX%_$4NfO+}8I*Vq$nE-3PS=Ws`BEPRatV-p*rt}&=%lf3e+gJQNa2OB23&n0eiWt&9>MxePMLuu7|1VCyVjg)u$1@SW{Zm)Hm9b2|
CUYCVoHm<1zO(|q&u{HM5WwBM0{z>*Lz}uiOJ;<<zh`wmAwZZuP6d^|VP%fJAXbvTA*ClhGEv+-`!LA7!g7$k6s$Kq_n%+AHpR+5Tir>$<NboYE(8s~
L?6&Te?;^?!J#rcvF((;Ni~kX3c@Nrrs>zdeY2lF6=tlyo3r-5z3Qbtet%EDA_9Xxp@R#*_L%{{8kz<^J{?#+;e-f3CT<5mO}U-EQ}|&$yv&}y&r$_G
V>sbH+aC!%p2(8Dj57c{WfyfmC7&Zb#-%a7LuyI83Ec0#%p$Tq1k~?7m?8E&-Xy8K^YeW@bx;aEK`ofS1Z`kHTTm3gX3J&1Z$3mnmT8E;HKSX-?V~@x
Zn@^ZMxzqFXQQh=%D^f=EM-VP%R6hnWZXVHFgy7^<g182M=Ccz0~4dYl8sos*L-?Ekd?ANo4><8b@#o#51lwYDcY7kZ@Ff?`MhktjBzf%8XEyWFY1Xt
I?wpMv=0)$2@iNadr^|T%@2#ec!Xm=hqB{59JsALUT`YEGLqE3nlQ}1arf{(65c4ivS)cefOiVNy?c#4vk;#?oBzi?q{E#)gw8C!M<XXYZLXj@p4A_{
o6&c>XMcRVk<mOmD>Owtyzsv~rp@oWrJaksgXA$geKdK!S@6=kNLdOzhUpBwALQA*8fSJq;*_tuRK!C(rX|6<rOF*W>LzBq2yu%%=s-9;1|v8;ZfgC!
hzgrK<!3ZE!vn3nHug@uxYVV**;ki3gi^FTjOjwYN$>x>cdm&(C$io>6ZJDaG*<h)jP3%zpz7Z|UImoB!`gg3m3>3Lfcf#hf0}{4b_xW)=jcQ}!+rq2
a}U$LkYhtXElj#T5Vo^EK(diNs>HCpVG0>O-`i@xs9=@82q-kYDL$Y*+wV|4EuvIDKs6e_Lt+fRUDS@f&Js<&i4dZ`bv0=|D%2G{2hKFR2>KR18kNVs
*yJa@DkDQa2~YgJ^oN(e@B>)C4q$#hGh5WX#0l9woeB{=y*&lL)>6nmmW7u-|MY;pq%fmBr`^%IJ6<I|EnOJDKezS1(|)nO*u+b{8gc%;dxjIe_u;|5
h-U)6zbQ04WDFKR;ZDfC)xwIt+SM4o)P1TvOMzTGO{IIj4{eS<e9-GXM6a+s(b9#!75}fl1h*(ZqIYCJaqJ>K?UO7&rOn_z!m<`Wf$}rHEwVDd7yvgu
PYsQ}>Af{S=Hd*$SO)OEjbEL<Vb=+~$tJ5lv(ffFq3w}ARtN+;@k2m8JchSC(WR`ul~$NO>MoEwB}13JuU1+<)UU9<T)SbvL}h5a5MCEQzRCo@Fx(Zt
D_#@7Wame}CV%z5QN-!K4a^$9#Moj#XUbweQi>8kDf;z27&y_sy0Qblklhl$n)K(sfzDOFdxFV5s6?8+W)=ax<!DX6VOgZUUUa89d7lWp6Y-$DH|w`M
NxI^?j<f^2g-UNcObY(HL~wJwYANfy;74UT1XT{bd<X11k7FP^*HA9JR!oY#E`J!i)&`V2J51NSha-bKA@%b-PL^@JIw7<?E&&cauJ67)CZYhm5G|Iw
Az=Hu9zT4%I5yC`eatSqu@rziXv*Ha@ic%vvwb)}&A<sh!PYN6A=<>fe&q|ltM;<JR@V<dIvWqa_KzCBe<|-hZcg*QrJA2U$ZTgl4RayBr{){KFqy2q
z6#I2q=uorv^T9i_ld>5*Tb8=QTanZGDNz)lDV<Ii@m@+!V|Q;-J^d!fv3hk*JQ3fA&fXaMJ<=Ry-rcTIWed{CyAQA#|XwgiVX8T%E}(UV)KAM>~yF;
eFWY;NM$s?r*<PgD)wQ&GT5p;^E>oDkStBV29mx$?R1$tG#%)_ia7wgkE#hh4{p7_yUw&ez9k_(JQ$@u{vwM!<|)9va5(!t>H{D=jH%*1AGJO||Fo$-
$vY=K;@qsiu&bUvt7~SzESHBqze|=qSABuMXvHr-)T8=7hiuHe0?8P^I;>?sjK;;knr#HXz=Xp;u?W(?gNVvMXtt9-QJNgUw**DMa=C{;{ud>`$zlIK
l=+W7QkCJpO4F=AjImigSabtD4z_7ODB_MjzM$hjuFy?B4~(KchWQXayfsQcnA*d=9K+_l3cT69<nyDxibdYOboO1p2$@&Dm;oU^Y58A2HWzBYFOz(~
xvUI6Y7St(XdD{9NNLkPchj-HtopsaZuKTV|5=i}iA%!1Q2#GJQ}7f%Z@ff5^a^&qmktd+9&4>Ww+*vCz1RUiN|55cLP5K_{h}<q?Y=_1a}NbPbI=aE
?#ysHIAvPA8#O4rQC$T+qc9RY%vRw#Qfj-r;g*Iv>4guxM~}j~$fTmY!Ujpa5D_gqpRBGtOuEuL4L-EI1cnp56fwIxZ}p)(uhL&TZ1rHge+mV>^y1FC
4j*DXID-Q`vwtMK!ar?0lX7sp66a^W6H%PKGxR~dp~YA|i82E{3U!UXjol}{b*ZC1II*%mU@6MJ?OTh!dU8y@ld2WI(!HQP{vFD`PN0WAs5==xB$XdN
faJ(Lj0Ehxm0an)X&-ex22QCyq0iX9C*?Q2fSpyoWLjoCje#aUWS1B{9}I%KmOptt2XA~mF|o!z+d{rQcK07XI^uc0YhaH(o;Zs?z4`n;VGMG=Y}yyT
Zigek?S_&)M2QW*(gtcjv6rMisdrL8%8raaMfd+c<nS85+RRuyr#cHixnO_3=QoKy(RfroUAWx7Wm%iO>r_&{5fd-H$n+t<RgbQ|R+=I|+uR+#8b6Ia
*ZH`;^q~K~T6O+D2HhRLs_%$B`S=Gt*t=Ff+`bOJ4i&&Y`jopq3g#TWV=N)RVIV<1Yb|j<fk!|;h0jF4+3R7xgnz=mop#SY#*}V7!_=3(05Ipitan8}
R~`nx-fN*em$-#LRVI_X5~d%&kUSK>LuP|Nvt$K69~dV-`CX7d>eL%QX!qQ`mz9COUc>f1g^v+E-u;%p?r)aAeNx`LFl>}RlE;icR<R?#d*2g4>43sN
mC|Ux8)HDfs7#GN-!nu%UUvGvWqTjMF0Il&s@W7i3Wat*Evs5RSPrZ|%tY(I@4#X_?2Qk<VdIRw=n0Fz#%kO>
""",
    53,
    32,
)
HIDDEN_BIAS = _read(
    """
f+}x5M8B*+&kN{3DVbfs%3KaW&?=0+tZH+>R?1Dl!j>DqKD#QvDyWG+Y2=ANqf$pel3__e0B=J-KIjQRZi=En2=w7UGPSQjz|!EqVVBiEX|gInXf)J6
IHlXYAY2Q-D{yAOptb`*`Lpl5?f0rccNKv^k_<h-iQ-5<
""",
    32,
)
OUTPUT_WEIGHTS = _read(
    """
)=kPhfrYa_3P~qFWRym~C>jyJh|G(;B1?ilgf`i~y;0V`>6X>MOE!r=v$~c)xYU=w%UilXC4h!MYpa+)Sl^4kIc9P{-KU~IDIX@kgOH%VAKL*x6x@ct
$>F6x#SEFhzRztxJj!yvaAJ-<8OB{dd)P!jlapXSfHB9u
""",
    32,
)
